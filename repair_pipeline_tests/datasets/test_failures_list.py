"""Lists of failures, identified by ids or by metadata columns."""

import numpy as np
import pandas as pd
import pytest

from repair_pipeline.datasets.failures_list import read_failures
from repair_pipeline.errors import InputError

IDS = np.array(["a", "b", "c"])


@pytest.fixture
def listed(tmp_path):
    path = tmp_path / "listed.csv"
    pd.DataFrame({"row": ["c", "stranger", "a"]}).to_csv(path, index=False)
    return path


def test_an_unknown_row_is_refused_with_its_position(listed):
    with pytest.raises(InputError, match="row 1 lists the row 'stranger', which no test row has"):
        read_failures(listed, IDS, None, "row")


def test_unknown_rows_of_a_report_are_skipped_with_a_warning(listed, caplog):
    assert read_failures(listed, IDS, None, "row", strangers=True).tolist() == ["c", "a"]
    assert caplog.messages == ["1 of 3 reported rows are not test rows (the first: stranger)"]
