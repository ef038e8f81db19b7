"""A list of failing examples."""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from repair_pipeline.datasets.labels import class_name
from repair_pipeline.datasets.table_files import read_table, text_of
from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)


def read_failures(
    path: Path, test_ids: NDArray[np.str_], metadata: pa.Table | None, id_column: str | None, strangers: bool = False
) -> NDArray[np.str_]:
    """Ids of the test examples that a CSV or Parquet file lists.

    They are listed by ``example_id``, by the data's own id column, or by a column of theirs that does not repeat among
    the test rows.

    Args:
        strangers: it may list others too, which are left out with a warning.

    Raises:
        InputError: the file cannot be read, shares no such column with the data, or lists a row that is not there.
    """
    table = read_table(path)
    keys = {"example_id": test_ids.tolist()}
    if id_column:
        keys[id_column] = test_ids.tolist()
    if metadata is not None:
        at = {example_id: row for row, example_id in enumerate(metadata["example_id"].to_pylist())}
        own = metadata.take([at[example_id] for example_id in test_ids.tolist()])
        for name in own.column_names[1:]:
            values = own[name].to_pylist()
            if len(set(values)) == len(values):
                keys.setdefault(name, values)
    shared = [name for name in keys if name in table.column_names]
    if not shared:
        raise InputError(
            f"{path} has the columns {', '.join(table.column_names)}, none of which names a test row: "
            f"give one of {', '.join(keys)}"
        )
    name = shared[0]
    id_of = {str(value): example_id for value, example_id in zip(keys[name], test_ids.tolist(), strict=True)}
    values = table[name].to_pylist()
    # An id is what the file's text says, 00037; the number 37 that it may be read as is tried after that.
    texts, numbered = text_of(path, table, name), _by_number(id_of)
    listed = []
    for text, value in zip(texts, values, strict=True):
        written = text if text in id_of else class_name(value)
        listed.append(written if written in id_of else numbered.get(written, text))
    unknown = [(row, value) for row, value in enumerate(listed) if value not in id_of]
    if unknown and strangers:
        log.warning("%d of %d reported rows are no test rows, %s the first", len(unknown), len(listed), unknown[0][1])
    elif unknown:
        row, value = unknown[0]
        raise InputError(f"{path}: row {row} lists the {name} {value!r}, which no test row has: take it off")
    counted = Counter(id_of[value] for value in listed if value in id_of)
    if not strangers and len(counted) < len(listed):
        twice, count = counted.most_common(1)[0]
        raise InputError(f"{path} lists the {name} {twice!r} {count} times: list each failure once")
    return np.array(list(counted), dtype=np.str_)


def _by_number(ids: Iterable[str]) -> dict[str, str]:
    """The ids of digits alone that one number means: pandas reads 00037 as 37, and lists it so."""
    numbers = [(str(int(name)), name) for name in ids if name.isascii() and name.isdigit()]
    count = Counter(number for number, _ in numbers)
    return {number: name for number, name in numbers if count[number] == 1}
