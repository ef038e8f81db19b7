"""Who has read a held-out failure before."""

from datetime import UTC, datetime

from repair_pipeline.datasets.ids import input_digests
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.pipeline import ledger
from repair_pipeline.pipeline.ledger import earlier_reads, write_reads
from repair_pipeline.storage.files import read_parquet, read_tensors, write_bytes, write_tensors
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.views import query
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


def test_a_copy_of_the_test_data_is_no_new_holdout_wherever_it_lies_and_whatever_its_ids(case, monkeypatch):
    monkeypatch.setattr(ledger, "KnownData", UserData)  # as if the digits were somebody's own
    inputs = case.partition.holdout.inputs
    there, content = {"tests": "/copied/test.csv", "read_at": datetime(2000, 1, 1, tzinfo=UTC)}, input_digests(inputs)
    rows = [{**there, "failure_group": "all", "example_id": f"row {at}", "content": content[at]} for at in (0, 2)]
    save_rows(case.layout.table("holdout_reads", "copy"), "holdout_reads", rows, {})
    mask, times = earlier_reads(case)
    assert mask.nonzero()[0].tolist() == [0, 2]
    assert times == 1


def test_rows_of_equal_input_are_all_read_when_one_is(case, monkeypatch):
    monkeypatch.setattr(ledger, "KnownData", UserData)
    monkeypatch.setattr(ledger, "input_digests", lambda inputs: ["the same"] * len(inputs))
    there = {"tests": "/copied/test.csv", "read_at": datetime(2000, 1, 1, tzinfo=UTC), "failure_group": "all"}
    rows = [{**there, "example_id": "row 0", "content": "the same"}]
    save_rows(case.layout.table("holdout_reads", "copy"), "holdout_reads", rows, {})
    assert earlier_reads(case)[0].all()


def test_a_hash_id_is_known_whatever_the_model_reads_of_the_row(case, monkeypatch):
    monkeypatch.setattr(ledger, "KnownData", UserData)
    there = {"tests": "/copied/test.csv", "read_at": datetime(2000, 1, 1, tzinfo=UTC), "failure_group": "all"}
    first = case.partition.holdout.ids[0].split("-")[0]
    rows = [{**there, "example_id": f"{first}-7", "content": "of another transform"}]
    save_rows(case.layout.table("holdout_reads", "copy"), "holdout_reads", rows, {})
    assert earlier_reads(case)[0].nonzero()[0].tolist() == [0]


def test_when_a_case_first_read_is_kept(case):
    path = case.layout.table("holdout_reads", case.id)
    ids = case.partition.holdout.ids.tolist()
    long_ago = [{**row, "read_at": datetime(2000, 1, 1, tzinfo=UTC)} for row in read_parquet(path)[0].to_pylist()]
    save_rows(path, "holdout_reads", long_ago, {})
    write_reads(case, path, silent)
    reads(case, "between", ids, 2001)
    assert earlier_reads(case)[1] == 0


def test_a_case_whose_data_or_weights_changed_has_read_its_holdout_before(case):
    path, ids = case.layout.table("holdout_reads", case.id), case.partition.holdout.ids.tolist()
    before = query(case.layout, f"SELECT * FROM holdout_reads WHERE case_id = '{case.id}'").to_pylist()
    weights = case.base_model_path.read_bytes()
    try:
        tensors, notes = read_tensors(case.base_model_path)
        write_tensors(case.base_model_path, {name: tensor + 1 for name, tensor in tensors.items()}, notes)
        write_reads(case, path, silent)
        mask, times = earlier_reads(case)
        assert mask.all()
        assert times == 1
        kept = query(case.layout, f"SELECT * FROM holdout_reads WHERE case_id = '{case.id}'").to_pylist()
        assert [row for row in kept if row in before] == before
        assert len(kept) == 2 * len(ids)
        write_reads(case, path, silent)
        assert len(read_parquet(path)[0]) == 2 * len(ids)
    finally:
        write_bytes(case.base_model_path, weights)
