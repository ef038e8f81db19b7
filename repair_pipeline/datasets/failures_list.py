"""Reading a user's list of failing examples."""

import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from repair_pipeline.datasets.table_files import as_listed, read_table
from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)


def read_failures(
    path: Path, test_ids: NDArray[np.str_], metadata: pa.Table | None, id_column: str | None, strangers: bool = False
) -> NDArray[np.str_]:
    """The ids of the test examples that a CSV or Parquet file lists.

    The file identifies them by ``example_id``, by the data's id column, or by a metadata column without duplicates
    among the test rows.

    Args:
        path: the file.
        test_ids: ids of all test examples.
        metadata: ``example_id`` and the other columns of the data.
        id_column: the data's id column.
        strangers: whether unknown rows are skipped with a warning instead of refused, and duplicates allowed.

    Raises:
        InputError: the file cannot be read, has none of these columns, or lists an unknown row or one row twice.
    """
    table = read_table(path)
    keys = {"example_id": test_ids.tolist()}
    if id_column:
        keys[id_column] = test_ids.tolist()
    if metadata is not None:
        at = {example_id: row for row, example_id in enumerate(metadata["example_id"].to_pylist())}
        test_metadata = metadata.take([at[example_id] for example_id in test_ids.tolist()])
        for name in test_metadata.column_names[1:]:
            values = test_metadata[name].to_pylist()
            if len(set(values)) == len(values):
                keys.setdefault(name, values)
    shared = [name for name in keys if name in table.column_names]
    if not shared:
        raise InputError(
            f"{path} has the columns {', '.join(table.column_names)}, none of which identifies a test row: "
            f"give one of {', '.join(keys)}"
        )
    name = shared[0]
    id_of = {str(value): example_id for value, example_id in zip(keys[name], test_ids.tolist(), strict=True)}
    listed = as_listed(path, table, name, id_of)
    unknown = [(row, value) for row, value in enumerate(listed) if value not in id_of]
    if unknown and strangers:
        log.warning(
            "%d of %d reported rows are not test rows (the first: %s)", len(unknown), len(listed), unknown[0][1]
        )
    elif unknown:
        row, value = unknown[0]
        raise InputError(f"{path}: row {row} lists the {name} {value!r}, which no test row has: remove it")
    counts = Counter(id_of[value] for value in listed if value in id_of)
    if not strangers and len(counts) < len(listed):
        duplicate, count = counts.most_common(1)[0]
        raise InputError(f"{path} lists the {name} {duplicate!r} {count} times: list each failure once")
    return np.array(list(counts), dtype=np.str_)
