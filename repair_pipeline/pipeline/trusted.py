"""The test rows that are left when those that are weak evidence are left out."""

from __future__ import annotations

from collections.abc import Collection

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.types import TestPartition


def trusted(view: GroupView, leave_out: Collection[str]) -> TestPartition:
    """A group's test rows without those that ``doubtful_tests`` lists for one of these reasons.

    The share of failures is that among the rows that are left.

    Args:
        view: the failure group.
        leave_out: reasons, as in the column ``reason``. Empty: all rows stay, and the table is not read.

    Raises:
        InputError: no holdout rows or no remaining rows are left.
    """
    if not leave_out:
        return view.partition
    table, _ = read_parquet(view.layout.table("doubtful_tests", view.id))
    listed = zip(table["example_id"].to_pylist(), table["reason"].to_pylist(), strict=True)
    left = view.partition.without(frozenset(example_id for example_id, reason in listed if reason in leave_out))
    for name in ("holdout", "remaining"):
        if not len(getattr(left, name)):
            raise InputError(
                f"leave_out is {', '.join(leave_out)}, which leaves none of {len(getattr(view.partition, name))} "
                f"{name} rows: give more test rows, or leave out for fewer reasons"
            )
    return left
