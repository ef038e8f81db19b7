"""Who has read a held-out failure before."""

from datetime import UTC, datetime

from repair_pipeline.pipeline.ledger import earlier_reads, write_reads
from repair_pipeline.storage.records import save_rows
from repair_pipeline.types import silent


def reads(case, reader, ids, year, tests=None):
    said = {"failure_group": "all", "tests": tests or case.spec.tests, "read_at": datetime(year, 1, 1, tzinfo=UTC)}
    rows = [{**said, "example_id": example_id} for example_id in ids]
    save_rows(case.layout.table("holdout_reads", reader), "holdout_reads", rows, {})


def test_only_earlier_readers_of_the_same_test_rows_count(case):
    ids = case.partition.holdout.ids.tolist()
    reads(case, "later", ids, 2100)
    reads(case, "elsewhere", ids, 2000, tests="another.parquet")
    reads(case, "stranger", ["no-row-of-this-holdout"], 2000)
    mask, times = earlier_reads(case)
    assert (mask.any(), times) == (False, 0)
    reads(case, "first", ids[:2], 2000)
    reads(case, "second", ids[1:3], 2001)
    mask, times = earlier_reads(case)
    assert mask.tolist() == [at < 3 for at in range(len(ids))]
    assert times == 2


def test_when_a_case_first_read_is_kept(case):
    path = case.layout.table("holdout_reads", case.id)
    ids = case.partition.holdout.ids.tolist()
    reads(case, case.id, ids, 2000)
    write_reads(case, path, silent)
    reads(case, "between", ids, 2001)
    assert earlier_reads(case)[1] == 0
