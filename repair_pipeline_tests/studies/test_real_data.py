"""What a patch did, counted against the truth."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from repair_pipeline.storage.files import write_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.studies.real_data import _gap_closed, _patches

# Given and true labels, and what the patch does: three of eight rows are wrong, four are changed.
ROWS = [
    ("a", 0, 0, None, None),
    ("b", 0, 1, "drop", None),  # wrong, and gone
    ("c", 0, 2, "relabel", "owl"),  # wrong, and right now
    ("d", 1, 0, "relabel", "owl"),  # wrong, and still is
    ("e", 1, 1, "drop", None),  # right, and gone
    ("f", 1, 1, "keep", None),
    ("g", 2, 2, None, None),
    ("h", 2, 2, None, None),
]


@pytest.fixture
def layout(tmp_path):
    """A store of a case whose patch changes four rows, and of one whose patch is empty."""
    layout = Layout(tmp_path)
    write_parquet(layout.base("base", "dataset.parquet"), pa.table({"x": [0]}), {"classes": ["cat", "dog", "owl"]})
    for case, rows in (("one", ROWS), ("two", [(name, given, true, None, None) for name, given, true, *_ in ROWS])):
        examples = [
            {"example_id": name, "split": "fit", "label": given, "clean_label": true, "corrupted": given != true}
            for name, given, true, _, _ in rows
        ]
        elsewhere = {"example_id": "z", "split": "validation", "label": 0, "clean_label": 1, "corrupted": True}
        save_rows(layout.table("examples", case), "examples", [*examples, elsewhere], {})
        patch = [
            {"failure_group": "all", "example_id": name, "action": action, "suggested_label": suggested}
            for name, _, _, action, suggested in rows
            if action
        ]
        save_rows(layout.table("patch", case), "patch", patch, {})
    return layout


def test_patches_are_counted_against_the_truth(layout):
    known = pd.DataFrame({"family": "f", "seed": [0, 1], "case_id": ["one", "two"], "base_id": ["base", "base2"]})
    write_parquet(layout.base("base2", "dataset.parquet"), pa.table({"x": [0]}), {"classes": ["cat", "dog", "owl"]})
    one, two = _patches(layout, known).to_dict("records")
    assert (one["changed"], one["relabelled"]) == (4, 2)
    assert one["changed were wrong"] == 3 / 4
    assert one["suggestions right"] == 1 / 2
    assert one["wrong before"] == two["wrong before"] == two["wrong after"] == 3 / 8
    assert one["wrong after"] == 1 / 6
    assert two["changed"] == 0
    assert np.isnan(two["changed were wrong"])


def test_the_gap_closed_is_1_at_true_labels_and_0_at_no_change():
    trainings = pd.DataFrame({"as_is": [0.6, 0.6, 0.6], "true_labels": 0.7, "difference": [0.1, 0.0, -0.02]})
    assert _gap_closed(trainings).tolist() == pytest.approx([1, 0, -0.2])
