"""Bad input to the library raises a one-line error that says what to do."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import repair_pipeline as rp
from repair_pipeline.errors import InputError
from repair_pipeline.influence.methods import METHODS
from repair_pipeline_tests.library.parts import judged, problem_of

REFUSED = {
    "unknown method": (lambda p, g: rp.attribute(p, "ewcc"), "there is no influence method 'ewcc': did you mean ewc"),
    "unknown setting": (lambda p, g: rp.attribute(p, "ewc", gama=1), "ewc has no setting 'gama': it has guard"),
    "bad setting": (lambda p, g: rp.attribute(p, "ewc", gamma=-1), "ewc: gamma: input should be greater than 0"),
    "setting of instance": (lambda p, g: rp.attribute(p, METHODS["ewc"](), gamma=1), "set it on the instance"),
    "oracle": (lambda p, g: rp.attribute(p, "oracle"), "give the problem corrupted= ids"),
    "semi_oracle": (lambda p, g: rp.repair(p, [], "semi_oracle"), "give the problem corrupted= ids"),
    "auto": (lambda p, g: rp.repair(p, [], "auto"), "which only repair run does"),
    "untrained": (lambda p, g: rp.repair(p, [], "retrain"), "has no untrained="),
    "unknown cause": (lambda p, g: rp.repair(p, ["nobody"]), "the first is 'nobody'"),
    "one id": (lambda p, g: rp.repair(p, "nobody"), "or a list of ids"),
    "all rows": (lambda p, g: rp.attribute(p, "loss").top(len(p.fit)), "give a count from 1 to"),
    "read failures": (lambda p, g: judged(p, g["failures"], g["remaining"]), "holdout rows are also in failures"),
    "read guard": (lambda p, g: judged(p, g["holdout"], g["guard"]), "remaining rows are also in guard"),
    "right holdout": (
        lambda p, g: judged(p, g["remaining"], g["remaining"]),
        "holdout must hold rows that the model gets wrong",
    ),
    "wrong remaining": (
        lambda p, g: judged(p, g["holdout"], g["holdout"]),
        "remaining must hold rows that the model gets right",
    ),
    "no holdout": (lambda p, g: judged(p, no_rows(g["holdout"]), g["remaining"]), "holdout has no rows"),
    "two controls": (lambda p, g: judged(p, g["holdout"], g["remaining"], controls=2), "judge: controls: input should"),
}


def no_rows(rows):
    return tuple(column[:0] for column in rows)


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_call_raises_one_line_with_the_next_move(problem, given, case):
    call, message = REFUSED[case]
    with pytest.raises(InputError) as error:
        call(problem, given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_training_rows_are_refused_as_remaining_rows(problem, given):
    with pytest.raises(InputError, match=r"remaining rows are also in train, the first is row 0"):
        judged(problem, given["holdout"], tuple(column[:40] for column in given["train"]))


MALFORMED = {
    "float labels": (
        lambda g: {"train": (g["train"][0], g["train"][1].double())},
        "train has labels of dtype torch.float64",
    ),
    "one column": (lambda g: {"train": (g["train"][0],)}, r"train is a tuple of length 1: give \(x, y\)"),
    "lengths": (lambda g: {"failures": (g["failures"][0], g["failures"][1][1:])}, "failures has inputs of shape"),
    "label": (lambda g: {"guard": (g["guard"][0], g["guard"][1] + 7)}, "guard has the label 7"),
    "kind": (lambda g: {"train": 7}, "train is int: give"),
    "file": (lambda g: {"train": "nowhere.parquet"}, "'nowhere.parquet', which does not exist"),
    "features": (lambda g: {"train": (g["train"][0].repeat(1, 2), g["train"][1])}, "it reads 2 features"),
    "right failures": (lambda g: {"failures": g["guard"]}, "failures must hold rows that the model gets wrong"),
    "wrong guard": (lambda g: {"guard": g["failures"]}, "guard must hold rows that the model gets right"),
    "one failure": (lambda g: {"failures": tuple(column[:1] for column in g["failures"])}, "1 failure is given"),
    "no failure": (lambda g: {"failures": no_rows(g["failures"])}, "failures has no rows"),
    "four columns": (
        lambda g: {"train": TensorDataset(*g["train"], *g["train"])},
        r"train yields 4 values per row: yield \(x, y\), or \(x, y, id\)",
    ),
    "an empty data set": (lambda g: {"train": DataLoader([])}, "train has no rows: give at least one"),
    "rows of two shapes": (
        lambda g: {"train": DataLoader([(torch.zeros(at), 0) for at in (2, 3)])},
        "train yields values that are not tensors of one shape",
    ),
    "text": (lambda g: {"train": (["a", "b"], [0, 1])}, "train cannot be made into tensors"),
    "unknown corrupted ids": (lambda g: {"corrupted": ["nobody"]}, "corrupted has 1 ids that no training row has"),
    "repeated id": (lambda g: {"train": (*g["train"], ["a"] * len(g["train"][1]))}, "the id 'a' is given"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_rows_that_cannot_be_used_are_refused_in_one_line(model, given, case):
    change, message = MALFORMED[case]
    changed = {**given, **change(given)}
    with pytest.raises(InputError, match=message) as error:
        problem_of(model, changed, corrupted=changed.get("corrupted", ()))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("no_model", [None, "net.safetensors", {"weight": 1}], ids=str)
def test_what_is_no_model_is_refused(no_model, given):
    with pytest.raises(InputError, match=rf"^model is {type(no_model).__name__}: give a trained torch\.nn\.Module"):
        problem_of(no_model, given)


def test_too_few_rows_for_validation_are_named(model, given):
    few = {"train": tuple(column[:3] for column in given["train"]), "failures": given["failures"]}
    with pytest.raises(InputError, match="give validation="):
        problem_of(model, few)


@pytest.mark.parametrize("name", ["ewc", "linear_gd", "learn_query", "ewc_deletion", "scrub"])
def test_methods_that_need_a_guard_refuse_a_problem_without_one(model, given, name):
    del given["guard"]
    problem = problem_of(model, given)
    with pytest.raises(InputError, match="guard") as error:
        rp.attribute(problem, name) if name in METHODS else rp.repair(problem, problem.fit.ids[:9].tolist(), name)
    assert "\n" not in str(error.value)


def test_other_methods_work_without_a_guard(model, given):
    del given["guard"]
    problem = problem_of(model, given)
    scores = rp.attribute(problem, "ewc", guard="none")
    assert scores.influence.notes["guard_cases"] == 0
    for treatment in ("combined", "newton"):
        repair = rp.repair(problem, scores.top(20), treatment)
        assert "guard" not in [part for part, _, _ in repair.right]
    assert rp.judge(problem, repair, given["holdout"], given["remaining"]).holdout == len(given["holdout"][1])
