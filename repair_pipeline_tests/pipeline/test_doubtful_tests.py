"""A case whose test set repeats training rows and has wrong labels: what it lists, and what is judged without them."""

import numpy as np
import pandas as pd
import pytest

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline import gate
from repair_pipeline.pipeline.preflight import preflight
from repair_pipeline.pipeline.trusted import trusted
from repair_pipeline.storage.views import query
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import run

REPEATED, FLIPPED = 8, 24
COLUMNS = [f"x{at}" for at in range(8)]


def table(count, seed):
    """Two classes, far apart."""
    rng = np.random.default_rng(seed)
    side = rng.integers(0, 2, count)
    x = rng.normal(size=(count, len(COLUMNS)))
    x[:, 0] += np.where(side == 1, 2.5, -2.5)
    named = pd.DataFrame(x, columns=COLUMNS)
    return named.assign(row=[f"{seed}-{at}" for at in range(count)], label=np.where(side == 1, "yes", "no"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("doubtful"), np.random.default_rng(0)
    train, test = table(400, 1), table(500, 2)
    near = train.loc[: REPEATED - 1, COLUMNS] + 0.01 * rng.normal(size=(REPEATED, len(COLUMNS)))
    test.loc[: REPEATED - 1, COLUMNS] = near.to_numpy()
    test.loc[: REPEATED - 1, "label"] = train.loc[: REPEATED - 1, "label"].to_numpy()
    flipped = slice(REPEATED, REPEATED + FLIPPED - 1)
    test.loc[flipped, "label"] = test.loc[flipped, "label"].map({"yes": "no", "no": "yes"})
    train.to_parquet(folder / "train.parquet", index=False)
    test.to_parquet(folder / "test.parquet", index=False)
    return folder


def spec(folder, **fields):
    given = {
        "name": "doubtful",
        "dataset": {"train": str(folder / "train.parquet"), "test": str(folder / "test.parquet"), "id": "row"},
        "model": {"factory": "repair_pipeline_tests.pipeline.test_doubtful_tests:net"},
        "training": {"learning_rate": 0.02, "max_epochs": 15},
        "influence": {"ewc": {}, "cross_fit": {}},
        "causes": {"top": 20},
        "treat": ["ewc"],
        "treatments": {"finetune": {}, "base": {}},
        "gate": {},
    }
    return parse_spec({**given, **fields})


def net():
    from torch import nn

    return nn.Linear(len(COLUMNS), 2)


@pytest.fixture(scope="module")
def case(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "publish", lambda *args: 1)
        patch.setattr(gate, "set_champion_if_none", lambda *args: None)
        patch.setattr(gate, "set_candidate", lambda *args: None)
        case = case_at(tmp_path_factory.mktemp("home"), spec(folder))
        assert run(case).failed == {}
    return case


def listed(case, reason):
    return query(case.layout, f"SELECT * FROM doubtful_tests WHERE reason = '{reason}'").to_pylist()


def test_rows_that_nearly_repeat_a_training_row_are_listed_with_it(case):
    found = {(row["example_id"], row["training_row"]) for row in listed(case, "near_duplicate")}
    assert found >= {(f"2-{at}", f"1-{at}") for at in range(REPEATED)}
    assert len(found) <= REPEATED + 1  # one in a hundred may be near by chance


def test_flipped_labels_are_listed_with_the_likelier_label(case):
    found = {row["example_id"]: row for row in listed(case, "doubtful_label")}
    flipped = {f"2-{at}" for at in range(REPEATED, REPEATED + FLIPPED)}
    assert len(found.keys() - flipped) <= 2
    assert len(found.keys() & flipped) >= FLIPPED - 4
    for row in found.values():
        assert {row["label"], row["likelier_label"]} == {"yes", "no"}
        assert row["failed"]
        assert row["split"] in ("query", "query_tuning", "holdout")
    assert {row["split"] for row in found.values()} >= {"query", "holdout"}


def test_a_row_of_the_holdout_is_doubtful_only_if_the_repair_and_every_control_contradict_its_label(case):
    """So leaving it out favours neither."""
    test = case.data.test
    doubted = test[test.having(frozenset(row["example_id"] for row in listed(case, "doubtful_label")))]
    held_out = doubted[doubted.having(frozenset(case.partition.holdout.ids.tolist()))]
    models = [case.model_path(gate.selected_variant(case)), *(file.path for file in gate.compared(case))]
    assert len(models) > 3
    for path in models:
        assert not (case.model(path)(held_out.inputs).argmax(dim=1) == held_out.labels).any()


def test_what_the_case_leaves_out_is_not_judged_on_and_the_rest_has_its_own_natural_mix(case):
    whole = gate.unseen(case)
    left = gate.unseen(case, leave_out=("near_duplicate", "doubtful_label"))
    ids = {row["example_id"] for reason in ("near_duplicate", "doubtful_label") for row in listed(case, reason)}
    for name in ("holdout", "remaining"):
        assert getattr(left, name).ids.tolist() == [i for i in getattr(whole, name).ids.tolist() if i not in ids]
    assert len(left.read) == len(left.holdout) < len(whole.holdout)
    failures = query(case.layout, "SELECT DISTINCT example_id FROM doubtful_tests WHERE failed").num_rows
    rows = len(case.data.test) - len(ids)
    assert left.share == pytest.approx((case.partition.failures - failures) / rows)


def test_nothing_is_left_out_unless_the_case_says_so(case):
    assert trusted(case, ()) is case.partition


def test_a_case_without_a_gate_has_nothing_to_leave_rows_out_of(folder):
    with pytest.raises(InputError, match="leave_out is given, but only a gate judges on test rows"):
        spec(folder, leave_out=["near_duplicate"], gate=None)


def test_naming_no_reason_changes_no_id(folder):
    assert spec(folder, leave_out=[]).digest == spec(folder).digest != spec(folder, leave_out=["near_duplicate"]).digest


def test_the_check_counts_near_duplicates_before_the_run(folder, tmp_path):
    found = [finding for finding in preflight(case_at(tmp_path, spec(folder))) if finding.name == "near duplicates"]
    assert len(found) == 1
    assert not found[0].fine
    assert REPEATED <= int(found[0].says.split(" of 500 test rows nearly repeat")[0]) <= REPEATED + 1
