"""An owner's case from her files to its verdict: groups, gate, patch and pairs."""

import json
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
import torch

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.influence import pairs
from repair_pipeline.pipeline import gate
from repair_pipeline.pipeline.patch import write_pairs, write_patch
from repair_pipeline.pipeline.run import run_case
from repair_pipeline.storage.files import read_parquet, read_tensors, write_bytes, write_parquet
from repair_pipeline.storage.records import load_scores
from repair_pipeline.studies.cases import upto
from repair_pipeline.types import silent
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import ask, run
from repair_pipeline_tests.wards import write_tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("owner")
    write_tables(folder)
    return folder


def spec(folder, **fields):
    own = {"train": str(folder / "train.parquet"), "test": str(folder / "test.parquet"), "id": "row"}
    given = {
        "name": "wards",
        "dataset": own,
        "model": {"factory": "repair_pipeline_tests.wards:net"},
        "training": {"learning_rate": 0.01, "max_epochs": 30},
        "failures": {"groups": {"B": "scanner = 'B' AND label = 'sick'", "C": "scanner = 'C' AND label = 'sick'"}},
        "influence": {"ewc": {}, "random": {}},
        "causes": {"positive": True},
        "treatments": {"finetune": {}, "base": {}},
        "gate": {"bound": 0.2, "class_bound": 0.5},
    }
    return parse_spec({**given, **fields})


@pytest.fixture(scope="module")
def case(folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gate, "publish", lambda *args: 1)
        patch.setattr(gate, "set_champion_if_none", lambda *args: None)
        patch.setattr(gate, "set_candidate", lambda *args: None)
        case = case_at(tmp_path_factory.mktemp("home"), spec(folder))
        outcome = run(case)
    assert outcome.failed == {}
    return case


def test_groups_partition_the_failures_they_name(case):
    found = {row["failure_group"]: row for row in ask(case, "SELECT * FROM groups")}
    assert found.keys() == {"B", "C"}
    for name, row in found.items():
        where = f"failure_group = '{name}' AND split IN ('query', 'query_tuning', 'holdout')"
        of_group = ask(case, f"SELECT scanner, label FROM examples WHERE {where}")
        assert len(of_group) == row["failures"] == row["query"] + row["query_tuning"] + row["holdout"]
        assert {(each["scanner"], each["label"]) for each in of_group} == {(name, case.data.classes.index("sick"))}


def test_every_group_has_its_own_scores_and_repairs_and_shares_the_fisher(case):
    scored = ask(case, "SELECT failure_group, method, count(*) AS n FROM influence GROUP BY ALL")
    assert {(row["failure_group"], row["method"]): row["n"] for row in scored} == dict.fromkeys(
        [(group, method) for group in "BC" for method in ("ewc", "random")], len(case.data.fit.examples)
    )
    repaired = ask(case, "SELECT DISTINCT failure_group FROM recovery WHERE treatment = 'finetune'")
    assert {row["failure_group"] for row in repaired} == {"B", "C"}
    assert len(list(case.fisher_path.parent.glob("fisher*"))) == 1


def test_cross_harm_says_what_each_repair_does_to_each_group(case):
    found = ask(case, "SELECT * FROM cross_harm WHERE treatment = 'finetune' AND influence_method = 'ewc'")
    assert {(row["failure_group"], row["affected_group"]) for row in found} == {(a, b) for a in "BC" for b in "BC"}
    recovered = ask(case, "SELECT * FROM recovery WHERE treatment = 'finetune' AND influence_method = 'ewc'")
    on_own = {row["failure_group"]: row["holdout_accuracy"] for row in recovered}
    for row in found:
        if row["failure_group"] == row["affected_group"]:
            assert row["holdout_accuracy"] == on_own[row["failure_group"]]


def test_the_verdict_counts_what_the_models_say(case):
    found = {row["failure_group"]: row for row in ask(case, "SELECT * FROM verdicts WHERE judge = 'gate'")}
    assert found.keys() == {"B", "C"}
    for name, row in found.items():
        view = next(view for view in case.views if view.group == name)
        repaired = f"failure_group = '{name}' AND treatment = 'finetune' AND influence_method = 'ewc'"
        recovered = ask(case, f"SELECT * FROM recovery WHERE {repaired}")[0]
        assert row["fixed"] == round(recovered["holdout_accuracy"] * len(view.partition.holdout))
        assert row["broken"] == round((1 - recovered["remaining_accuracy"]) * len(view.partition.remaining))
        assert row["removed"] == recovered["removed"] > 0
        assert row["gain"] == pytest.approx(recovered["unseen_accuracy"] - (1 - share(view)))


def share(view):
    """Of failures among the test rows that the recovery counts."""
    tests = view.partition
    failures = sum(map(len, (tests.query, tests.query_tuning, tests.unused_query, tests.holdout)))
    return failures / (failures + len(tests.guard) + len(tests.remaining))


def test_the_patch_holds_just_the_rows_that_the_repair_removed(case):
    for view in case.views:
        removed = set(gate.repair(view).causes.ids)
        found = ask(case, f"SELECT * FROM patch WHERE failure_group = '{view.group}'")
        assert {row["example_id"] for row in found} == removed
        assert all((row["action"] == "relabel") == (row["suggested_label"] is not None) for row in found)
        assert all(row["suggested_label"] != row["label"] for row in found)
    taken = pq.read_table(case.layout.patch(case.id, "patch.parquet"))
    assert len(taken) == len(ask(case, "SELECT * FROM patch"))
    assert len(pd.read_csv(case.layout.patch(case.id, "patch.csv"))) == len(taken)


def test_pairs_rank_the_harmful_rows_for_every_failure(case):
    for view in case.views:
        found = ask(case, f"SELECT * FROM pairs WHERE failure_group = '{view.group}' ORDER BY failure_id, rank")
        assert {row["failure_id"] for row in found} == set(view.partition.query.ids.tolist())
        of_one = [row["influence"] for row in found if row["failure_id"] == found[0]["failure_id"]]
        assert len(of_one) == 200
        assert of_one == sorted(of_one, reverse=True)


def test_pairs_that_would_cost_too_much_are_of_fewer_rows_and_the_table_says_so(case, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "_HELD", 1)  # one row at a time
    path = tmp_path / "pairs.parquet"
    write_pairs(case, path, silent)
    table, notes = read_parquet(path)
    fit = len(case.data.fit.examples)
    for view in case.views:
        failures = len(view.partition.query)
        most_harmful = load_scores(view.influence_path("ewc"), case.data.fit.examples).top(notes["fewer"][view.group])
        of_group = [row for row in table.to_pylist() if row["failure_group"] == view.group]
        assert {row["example_id"] for row in of_group} == most_harmful.as_set
        assert len(of_group) == failures * len(most_harmful)
        cost = [min(rows, failures) * (1 + max(rows, failures)) for rows in (len(most_harmful), len(most_harmful) + 1)]
        assert cost[0] <= fit + failures < cost[1]


def test_what_the_owner_froze_is_bit_identical_in_every_model(case):
    base = read_tensors(case.base_model_path)[0]
    for file in Path(case.layout.results / "models" / f"case_id={case.id}").glob("*.safetensors"):
        tensors = read_tensors(file)[0]
        assert torch.equal(tensors["0.bias"], base["0.bias"])
        assert torch.equal(tensors["1.running_mean"], base["1.running_mean"])
        assert torch.equal(tensors["3.weight"], tensors["6.weight"])


def test_an_accepted_group_becomes_the_candidate(case):
    accepted = {row["failure_group"] for row in gate.gate_verdicts(case) if row["verdict"] == "accepted"}
    assert accepted
    assert json.loads(case.layout.candidate(case.id).read_text())["failure_group"] in accepted


def test_only_the_adapted_parameters_move(folder, tmp_path):
    case = case_at(tmp_path, spec(folder, parameters="last_layer", gate=None))
    run(case)
    base = read_tensors(case.base_model_path)[0]
    view = case.first_view
    tensors = read_tensors(view.named_model_path("ewc-finetune"))[0]
    moved = {name for name in base if not torch.equal(tensors[name], base[name])}
    assert moved == {"8.weight", "8.bias"}


@pytest.mark.parametrize(
    ("failures", "says"),
    [
        ({"where": "scanner = 'Z'"}, "holds for none of 600 test rows"),
        ({"where": "floor = 3"}, "columns: example_id, label, predicted, scanner, row"),
        ({"groups": {"Z": "scanner = 'Z'"}}, "failures.groups.Z is "),
        ({"list": "nowhere.csv"}, "nowhere.csv does not exist"),
    ],
)
def test_failures_that_cannot_be_meant_are_refused_and_nothing_is_written(folder, tmp_path, failures, says):
    case, steps = case_at(tmp_path, spec(folder, failures=failures)), []

    def watch(step):
        steps.append(step.name)
        return nullcontext(silent)

    with pytest.raises(InputError, match=says) as caught:
        run_case(case, watch)
    assert "fisher_diagonal" not in steps  # which may take long
    assert "\n" not in str(caught.value)
    left = [file for file in tmp_path.rglob("*") if file.is_file() and "bases" not in file.parts]
    assert left == []  # the base is whole, and the mended case shares it


def test_a_listed_failure_that_is_right_is_refused(folder, tmp_path, case):
    test = case.data.test
    right = case.partition_path
    splits = {row["example_id"]: row["split"] for row in ask(case, "SELECT example_id, split FROM examples")}
    assert right.exists()
    listed = [example_id for example_id in test.ids.tolist() if splits[example_id] == "remaining"][:2]
    file = tmp_path / "failures.csv"
    file.write_text("row\n" + "\n".join(listed) + "\n")
    with pytest.raises(InputError, match="lists 2 of 2 rows that the base model gets right"):
        run(case_at(tmp_path / "home", spec(folder, failures={"list": str(file)})))


def test_a_list_of_failures_is_what_is_repaired(folder, tmp_path, case):
    wrong = [
        row["example_id"] for row in ask(case, "SELECT example_id FROM examples WHERE split IN ('query', 'holdout')")
    ]
    file = tmp_path / "failures.csv"
    file.write_text("row\n" + "\n".join(wrong) + "\n")
    listed = case_at(tmp_path / "home", spec(folder, failures={"list": str(file)}, gate=None))
    run(listed)
    tests = listed.partition
    assert sorted([*tests.query.ids, *tests.query_tuning.ids, *tests.holdout.ids]) == sorted(wrong)


def test_only_an_edited_patch_is_kept_when_it_is_made_anew(case):
    table, csv = case.layout.table("patch", case.id), case.layout.patch(case.id, "patch.csv")
    rows, kept = read_parquet(table)[0], csv.with_name("patch.edited.csv")
    before = {path: path.read_bytes() for path in (table, csv)}
    try:
        earlier = rows.drop_columns(["probability", "suggestion_probability"])  # as before these were known
        write_parquet(table, earlier, {})
        pa_csv.write_csv(earlier, csv)
        write_patch(case, table, silent)
        assert not kept.exists()
        assert pd.read_csv(csv).columns.tolist() == rows.column_names
        edited = csv.read_text().replace("drop", "keep")
        csv.write_text(edited)
        write_patch(case, table, silent)
        assert kept.read_text() == edited
        assert "keep" not in pd.read_csv(csv)["action"].tolist()
    finally:
        kept.unlink(missing_ok=True)
        for path, content in before.items():
            write_bytes(path, content)


def test_a_search_alone_is_judged_against_controls_too(folder, tmp_path):
    alone = spec(folder, treat=["ewc"], treatments={"auto": {}, "base": {}}, failures=None)
    case = case_at(tmp_path, alone)
    assert gate.selected_variant(case).treatment == "auto"
    assert len(gate.compared(case)) == 10


def stamped(model, train, validation, *, seed, device, progress, value):
    """A training whose result is known."""
    with torch.no_grad():
        model[-1].bias.fill_(value + len(train))
    return model


def test_the_base_model_is_trained_by_the_owners_function(folder, tmp_path):
    training = {"function": f"{__name__}:stamped", "arguments": {"value": 0.5}}
    case = case_at(tmp_path, spec(folder, training=training))
    outcome = run_case(case, lambda step: nullcontext(silent), steps=upto("base_model"))
    assert outcome.failed == {}
    assert (case.model(case.base_model_path)[-1].bias == 0.5 + len(case.data.fit.examples)).all()
