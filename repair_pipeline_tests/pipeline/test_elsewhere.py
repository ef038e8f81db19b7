"""The verdict on a model that was made elsewhere: the gate's own, by the same ledger."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.evaluation.judging import weights_digest
from repair_pipeline.pipeline import elsewhere
from repair_pipeline.pipeline.elsewhere import _split_by, compare, judge_elsewhere, prepare
from repair_pipeline.pipeline.gate import unseen
from repair_pipeline.pipeline.ledger import earlier_reads, write_reads
from repair_pipeline.storage.views import query
from repair_pipeline.training.fit import predictions
from repair_pipeline.treatment.training import Finetune
from repair_pipeline.types import Causes, silent
from repair_pipeline_tests.pipeline.conftest import case_at
from repair_pipeline_tests.pipeline.running import everything


def saved(path, model, prefix=""):
    save_file({prefix + name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return path


@pytest.fixture
def other(case, tmp_path):
    """A model that was made elsewhere, and its file."""
    model = case.model(case.layout.model(case.id, "planted-semi_oracle"))
    return model, saved(tmp_path / "other.safetensors", model)


@pytest.fixture
def unmoved(monkeypatch):
    """Controls that repair nothing and take no time."""
    monkeypatch.setattr(
        elsewhere,
        "controls",
        lambda rule, seed, task: [task("control").classifier.module(task("control").theta_hat)] * 5,
    )


def asked(case, columns="*"):
    return query(case.layout, f"SELECT {columns} FROM judged_models WHERE case_id = '{case.id}'").to_pylist()


def test_the_verdict_is_the_gates_over_finetuning_that_removes_nothing(case, other):
    model, file = other
    rows = judge_elsewhere(case, file, silent)
    tests, own = case.partition, unseen(case)

    def right(made, part):
        return (predictions(made, part) == part.labels).numpy()

    controls = [Finetune().repaired(case.task(f"gate_control/{number}", silent), Causes(())) for number in range(5)]
    both = right(model, tests.holdout), right(model, tests.remaining)
    outcomes = Outcomes(
        *both,
        *(rows[None] for rows in both),
        np.stack([right(control, tests.holdout) for control in controls]),
        np.stack([right(control, tests.remaining) for control in controls]),
        tests.remaining.labels.numpy(),
        share=own.share,
        removed=None,
        reused=1,
    )
    expected = asdict(judge(Gate(), [outcomes], case.data.classes, numpy_stream(case.spec.seed, "gate"))[0])
    expected["unjudged"] = ", ".join(expected["unjudged"])
    assert {name: rows[0][name] for name in expected} == expected
    assert rows[0]["fixed"] > 0


def test_who_reads_the_holdout_second_is_recommended_at_best(case, other, unmoved):
    row = judge_elsewhere(case, other[1], silent)[0]
    assert (row["reused"], row["holdout"]) == (1, len(case.partition.holdout))  # the case's own run was first
    read, times = earlier_reads(case)
    assert (read.any(), times) == (False, 0)


def test_a_case_that_was_not_run_is_made_as_far_as_it_is_needed_and_its_run_is_then_second(tmp_path, other, unmoved):
    fresh = case_at(tmp_path / "fresh")
    prepare(fresh, {"--model": other[1]}, lambda step: nullcontext(silent))
    assert judge_elsewhere(fresh, other[1], silent)[0]["reused"] == 0
    before = everything(fresh)
    assert {path.split("/")[0] for path in before} == {"bases", "cases", "examples", "holdout_reads", "judged_models"}
    with pytest.raises(KeyError):
        earlier_reads(fresh)  # its own repair has not read
    write_reads(fresh, fresh.layout.table("holdout_reads", fresh.id), silent)
    read, times = earlier_reads(fresh)
    assert (read.all(), times) == (True, 1)


def test_weights_are_known_by_their_tensors_and_judged_again_as_before(case, other, tmp_path, unmoved):
    model, file = other
    first = judge_elsewhere(case, file, silent)
    again = judge_elsewhere(case, saved(tmp_path / "wrapped.safetensors", model, "module."), silent)
    apart = {"file", "judged_at"}
    assert [{k: v for k, v in row.items() if k not in apart} for row in first] == [
        {k: v for k, v in row.items() if k not in apart} for row in again
    ]
    assert asked(case, "weights, file") == [{"weights": first[0]["weights"], "file": again[0]["file"]}]
    base = judge_elsewhere(case, case.base_model_path, silent)
    assert (base[0]["fixed"], base[0]["broken"], base[0]["verdict"]) == (0, 0, "not_proven")
    assert len(asked(case)) == 2
    judged = query(case.layout, "SELECT DISTINCT model FROM holdout_reads").to_pylist()
    assert len(judged) == 3  # the case's own repair and the two


BAD = {
    "no file": (lambda path: path, "--model is .*, which cannot be read"),
    "a pickle": (lambda path: torch.save({"a": torch.ones(1)}, path), "is no safetensors file"),
    "another architecture": (lambda path: save_file({"a": torch.ones(1)}, path), "lacks"),
}


@pytest.mark.parametrize("bad", BAD)
def test_weights_that_cannot_be_used_leave_everything_as_it_was(case, tmp_path, bad):
    make, says = BAD[bad]
    make(tmp_path / "bad.safetensors")
    before = everything(case)
    with pytest.raises(InputError, match=says) as error:
        judge_elsewhere(case, tmp_path / "bad.safetensors", silent)
    assert "\n" not in str(error.value)
    assert everything(case) == before


def test_two_models_are_compared_by_the_gate_as_they_are(case, other):
    model, file = other
    (row,) = compare(case, file, None, silent)
    tests = case.partition
    fixed = (predictions(model, tests.holdout) == tests.holdout.labels).numpy()
    kept = (predictions(model, tests.remaining) == tests.remaining.labels).numpy()
    old = np.zeros((1, len(fixed)), dtype=bool), np.ones((1, len(kept)), dtype=bool)
    judged = Outcomes(
        fixed,
        kept,
        fixed[None],
        kept[None],
        *old,
        tests.remaining.labels.numpy(),
        share=tests.failure_share,
        removed=None,
        reused=1,
        as_they_are=True,
    )
    expected = asdict(judge(Gate(), [judged], case.data.classes, numpy_stream(case.spec.seed, "gate"))[0])
    expected["unjudged"] = ", ".join(expected["unjudged"])
    assert {name: row[name] for name in expected} == expected
    assert row["fixed"] > 0
    assert row["compared_with"] == weights_digest(case.model(case.base_model_path))


def test_a_comparison_is_one_read_and_stands_beside_the_verdict_against_controls(case, other, unmoved):
    judge_elsewhere(case, other[1], silent)
    compare(case, other[1], None, silent)
    compare(case, other[1], case.base_model_path, silent)
    assert [row["compared_with"] is None for row in asked(case)] == [True, False]
    readers = query(case.layout, "SELECT DISTINCT model FROM holdout_reads").to_pylist()
    assert len(readers) == 2  # the case's own repair and the model


def test_another_old_model_is_compared_on_its_own_failures_among_the_unseen_rows(case, other, tmp_path):
    replaced = case.model(case.layout.model(case.id, "nothing-finetune"))
    (row,) = compare(case, other[1], saved(tmp_path / "old.safetensors", replaced), silent)
    tests, seen, gain = case.partition, Counter(), 0.0
    for part, weight in ((tests.holdout, tests.failure_share), (tests.remaining, 1 - tests.failure_share)):
        old, new = ((predictions(model, part) == part.labels).tolist() for model in (replaced, other[0]))
        seen.update(zip(old, new, strict=True))
        gain += weight * (np.mean(new) - np.mean(old))
    wrong = seen[False, True] + seen[False, False]
    assert 0 < wrong < len(tests.holdout) + len(tests.remaining)
    assert (row["holdout"], row["fixed"], row["broken"]) == (wrong, seen[False, True], seen[True, False])
    assert row["gain"] == pytest.approx(gain, abs=0.003)  # not exactly, as of an odd number of rows no half is unseen
    assert row["reused"] == 1


def test_all_failures_of_another_old_model_count_as_read_once_the_holdout_was(case, other, tmp_path):
    rows, missed = unseen(case), frozenset(case.partition.remaining.ids[:4].tolist())
    missed |= frozenset(case.partition.holdout.ids[:3].tolist())
    for read in (False, True):
        mask = np.arange(len(rows.holdout)) == (0 if read else -1)
        split = _split_by(missed, replace(rows, read=mask))
        assert frozenset(split.holdout.ids.tolist()) == missed
        assert (len(split.holdout) + len(split.remaining)) == len(rows.holdout) + len(rows.remaining)
        assert split.read.tolist() == [read] * 7
    share, failures, remaining = rows.share, len(rows.holdout), len(rows.remaining)
    assert split.share == pytest.approx(share * 3 / failures + (1 - share) * 4 / remaining)


def test_models_that_cannot_be_compared_leave_everything_as_it_was(case, other, tmp_path):
    before, new = everything(case), other[1]
    bad = tmp_path / "bad.safetensors"
    save_file({"a": torch.ones(1)}, bad)
    asked_for = {
        "the same weights as the case's base model": (case.base_model_path, None),
        "the same weights as --old": (new, new),
        "NEW is .* which cannot be read": (tmp_path / "none.safetensors", None),
        "--old is .* which cannot be read": (new, tmp_path / "none.safetensors"),
        "bad.safetensors lacks": (new, bad),
    }
    for says, (newer, older) in asked_for.items():
        with pytest.raises(InputError, match=says) as error:
            compare(case, newer, older, silent)
        assert "\n" not in str(error.value)
    assert everything(case) == before
