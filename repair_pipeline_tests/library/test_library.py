"""The library gives the same numbers as its parts put together by hand, for every kind of input."""

import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import asdict, replace
from io import BytesIO, StringIO

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import repair_pipeline as rp
from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.datasets.ids import content_ids
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes
from repair_pipeline.evaluation.gate import judge as gate_judge
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.training.fit import Schedule, accuracy
from repair_pipeline.treatment.newton import Newton
from repair_pipeline.treatment.training import Finetune, Untouched
from repair_pipeline.types import Causes, Examples, QuerySide
from repair_pipeline_tests.docs.pages import ROOT, blocks
from repair_pipeline_tests.library.parts import judged, problem_of


def by_hand(model, given, step, seed=0):
    """The task that the documentation describes, built from its parts."""
    sizes = [len(given[part][1]) for part in ("train", "failures", "guard")]
    inputs, labels = (torch.cat([given[part][at] for part in ("train", "failures", "guard")]) for at in (0, 1))
    everything = Examples(content_ids(inputs.numpy()), inputs, labels)
    train, failures, guard = (
        everything[slice(end - size, end)] for size, end in zip(sizes, np.cumsum(sizes), strict=True)
    )
    fit, validation = stratified_split(train.labels, 0.1, numpy_stream(seed, "validation"))
    order = numpy_stream(seed, "tuning").permutation(len(failures))
    tuning, query = np.sort(order[: max(1, round(0.1 * len(order)))]), np.sort(order[max(1, round(0.1 * len(order))) :])
    shuffled = torch.randperm(len(guard), generator=torch_stream(seed, "guard"))
    classifier = Classifier(model)
    return RepairTask(
        classifier=classifier,
        fisher=fisher_diagonal(classifier, classifier.theta_hat, train[fit]),
        log_lik_hat=log_likelihoods(classifier, classifier.theta_hat, train[fit]),
        fit=train[fit],
        validation=train[validation],
        tests=QuerySide(failures[torch.from_numpy(query)], failures[torch.from_numpy(tuning)], guard[shuffled]),
        truth=frozenset(),
        training=Schedule(),
        untrained=lambda generator: model,
        generator=torch_stream(seed, step),
    )


@pytest.mark.parametrize("method", ["ewc", "linear_gd", "loss", "random"])
def test_scores_are_the_methods_own_on_a_task_made_by_hand(model, given, method):
    del given["validation"]
    scores = rp.attribute(problem_of(model, given), method)
    expected = METHODS[method]().scores(by_hand(model, given, f"influence/{method}"))
    assert torch.equal(scores.influence.values, expected.values)
    assert scores.influence.ids.tolist() == expected.ids.tolist()


def test_settings_and_instances_reach_the_method(model, given, problem):
    scores = rp.attribute(problem, "ewc", gamma=0.01)
    task = problem.task("influence/ewc", lambda done, total: None)
    assert torch.equal(scores.influence.values, METHODS["ewc"](gamma=0.01).scores(task).values)
    assert torch.equal(
        rp.attribute(problem, METHODS["loss"]()).influence.values, rp.attribute(problem, "loss").influence.values
    )


class Stream(IterableDataset):
    def __init__(self, inputs, labels):
        self.rows = list(zip(inputs, labels, strict=True))

    def __iter__(self):
        return iter(self.rows)


def as_parquet(folder, part, inputs, labels):
    table = pd.DataFrame(inputs.numpy(), columns=["a", "b"]).assign(label=labels.numpy())
    table.to_parquet(folder / f"{part}.parquet", index=False)
    return folder / f"{part}.parquet"


KINDS = {
    "arrays": lambda folder, part, inputs, labels: (inputs.numpy(), labels.numpy()),
    "dataset": lambda folder, part, inputs, labels: TensorDataset(inputs, labels),
    "stream": lambda folder, part, inputs, labels: Stream(inputs, labels),
    "loader": lambda folder, part, inputs, labels: DataLoader(TensorDataset(inputs, labels), 7, shuffle=True),
    "parquet": as_parquet,
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_input_does_not_matter(model, given, scores, kind, tmp_path):
    other = problem_of(model, {part: KINDS[kind](tmp_path, part, *rows) for part, rows in given.items()})
    pd.testing.assert_frame_equal(rp.attribute(other, "ewc").to_pandas(), scores.to_pandas())


def test_given_ids_are_kept_and_positions_are_those_in_train(model, given):
    inputs, labels = given["train"]
    names = [f"row {at}" for at in range(len(labels))]
    table = rp.attribute(problem_of(model, {**given, "train": (inputs, labels, names)}), "loss").to_pandas()
    assert table["example_id"].tolist() == [f"row {at}" for at in table["position"]]
    assert table["label"].tolist() == [str(int(labels[at])) for at in table["position"]]
    assert table["influence"].is_monotonic_decreasing
    log_p = model(inputs).log_softmax(dim=1)[torch.arange(len(labels)), labels].detach().numpy()
    np.testing.assert_allclose(table["influence"], -log_p[table["position"]], rtol=1e-9)


def test_mislabelled_rows_come_first(trained, scores):
    planted = trained.fit.having(trained.corrupted).numpy()
    assert planted[scores.to_pandas()["position"][:24]].mean() > 0.8


def test_the_seed_decides_what_is_set_aside(model, given):
    del given["validation"]
    first, again, other = (problem_of(model, given, seed=seed) for seed in (0, 0, 1))
    assert first.positions.tolist() == again.positions.tolist() != other.positions.tolist()
    assert first.tests.query_tuning.ids.tolist() == again.tests.query_tuning.ids.tolist()
    assert len(first.fit) + len(first.validation) == len(given["train"][1])
    assert not set(first.fit.ids) & set(first.validation.ids)


def test_tuning_and_validation_that_are_given_are_used(model, given):
    problem = problem_of(model, given, tuning=given["holdout"])
    assert len(problem.tests.query) == len(given["failures"][1])
    assert torch.equal(problem.tests.query_tuning.inputs, given["holdout"][0])
    assert torch.equal(problem.validation.inputs, given["validation"][0])
    assert len(problem.fit) == len(given["train"][1])


def test_the_given_model_is_not_changed(trained, given):
    model = trained.classifier.module(trained.theta_hat).train()
    problem = problem_of(model, given)
    rp.repair(problem, rp.attribute(problem, "loss").top(20), "newton")
    assert model.training
    assert torch.equal(Classifier(model).theta_hat, trained.theta_hat)


def same_weights(one, other):
    return all(torch.equal(*both) for both in zip(one.parameters(), other.parameters(), strict=True))


def test_a_repair_is_the_treatments_by_name_or_as_an_instance(problem, scores, repair):
    task = problem.task("treatment/finetune", lambda done, total: None)
    assert same_weights(repair.model, Finetune().repaired(task, scores.top(24)))
    assert {part: share for part, _, share in repair.right}["guard"] == accuracy(repair.model, problem.tests.guard)
    by_ids = rp.repair(problem, list(scores.top(24).ids), Finetune())
    assert by_ids.causes == repair.causes == scores.top(24)
    assert same_weights(by_ids.model, repair.model)
    untouched = rp.repair(problem, scores.top(24), Untouched())
    assert (untouched.name, untouched.causes) == ("base", Causes(()))
    assert same_weights(untouched.model, problem.base)


def test_settings_reach_the_treatment(problem, scores):
    repair = rp.repair(problem, scores.top(24), "newton", gamma=1e-3)
    task = problem.task("treatment/newton", lambda done, total: None)
    assert same_weights(repair.model, Newton(gamma=1e-3).repaired(task, scores.top(24)))


def judged_by_hand(problem, repaired, given, treatment, removed, counted, causes=None):
    def right(model, rows):
        return (model(rows[0]).argmax(dim=1) == rows[1]).numpy()

    def task(step):
        return problem.task(step, lambda done, total: None)

    def on_both(models):
        return [np.stack([right(model, given[part]) for model in models]) for part in ("holdout", "remaining")]

    controls = []
    for number in range(5):
        step = f"gate_control/{number}"
        drawn = numpy_stream(problem.seed, step).permutation(problem.fit.ids)[:counted]
        controls.append(treatment.repaired(task(step), Causes(tuple(drawn.tolist()))))
    others = [treatment.repaired(task(f"gate_repair/{number}"), causes) for number in range(4)] if causes else []
    failures = len(given["failures"][1]) + len(given["holdout"][1])
    outcomes = Outcomes(
        right(repaired, given["holdout"]),
        right(repaired, given["remaining"]),
        *on_both([repaired, *others]),
        *on_both(controls),
        given["remaining"][1].numpy(),
        share=failures / (failures + len(given["guard"][1]) + len(given["remaining"][1])),
        removed=removed,
    )
    return asdict(gate_judge(Gate(), [outcomes], problem.classes, numpy_stream(problem.seed, "gate"))[0])


def test_a_verdict_is_the_gates_over_controls_of_the_same_treatment(model, given, problem, repair):
    verdict = rp.judge(problem_of(model, given), repair, given["holdout"], given["remaining"])
    expected = judged_by_hand(problem, repair.model, given, Finetune(), 24, 24, repair.causes)
    assert asdict(verdict) == {**expected, "controls": "finetune without 24 random rows, 5 times"}


def test_a_model_made_elsewhere_is_compared_with_finetuning_that_removes_nothing(model, given, problem, repair):
    verdict = rp.judge(problem_of(model, given), repair.model, given["holdout"], given["remaining"])
    expected = judged_by_hand(problem, repair.model, given, Finetune(), None, 0)
    assert {key: value for key, value in asdict(verdict).items() if key != "controls"} == expected
    assert "nothing removed" in verdict.controls
    assert "Removing" not in verdict.reason
    assert verdict.fixed > 0


def test_a_model_that_repairs_no_more_than_finetuning_is_not_proven(model, given):
    verdict = judged(problem_of(model, given), given["holdout"], given["remaining"])
    assert (verdict.verdict, verdict.fixed) == ("not_proven", 0)


def test_failures_that_judged_another_model_do_not_count_again(model, given, scores):
    problem, (inputs, labels) = problem_of(model, given), given["holdout"]
    first, second = (rp.repair(problem, scores.top(count), "newton") for count in (24, 20))
    judged_first = rp.judge(problem, first, (inputs[:5], labels[:5]), given["remaining"])
    fresh = rp.judge(problem, second, given["holdout"], given["remaining"])
    assert (fresh.holdout, fresh.reused) == (len(labels) - 5, 0)
    reused = rp.judge(problem, first, (inputs[5:], labels[5:]), given["remaining"])
    assert (reused.holdout, reused.reused) == (len(labels) - 5, 1)
    assert judged_first == rp.judge(problem, first, (inputs[:5], labels[:5]), given["remaining"])


def test_progress_is_called_until_done_and_else_nothing_is_printed(model, given, capsys):
    calls = []
    rp.attribute(problem_of(model, given, progress=lambda *at: calls.append(at)), "ewc")
    assert calls[-1] == (150, 150)
    rp.attribute(problem_of(model, given), "ewc")
    assert capsys.readouterr().out == ""


def test_results_are_shown_as_escaped_tables(model, given):
    inputs, labels = given["train"]
    names = ["<script>", *(f"row {at}" for at in range(1, len(labels)))]
    problem = problem_of(model, {**given, "train": (inputs, labels, names)}, classes=["<b>", "c", "d"])
    scores = rp.attribute(problem, "ewc")
    repair = rp.repair(problem, scores.top(20), "newton")
    verdict = rp.judge(problem, repair, given["holdout"], given["remaining"])
    first = replace(scores, labels=("<b>",) * len(scores))
    assert "&lt;b&gt;" in first._repr_html_()
    assert "<b>" not in first._repr_html_()
    assert repr(scores).startswith(f"Scores of {len(labels)} training rows by ewc, in nats, ")
    assert "failures" in repr(repair)
    assert "<table" in repair._repr_html_()
    assert verdict.reason in repr(verdict)
    assert "<table" in verdict._repr_html_()
    assert scores.plot().patches[0].get_height() >= 0


def test_references_read_the_corrupted_ids(trained, model, given):
    names, known = trained.fit.ids.tolist(), trained.corrupted
    problem = problem_of(model, {**given, "train": (*given["train"], names)}, corrupted=known)
    assert set(rp.attribute(problem, "oracle").top(len(known)).ids) == known
    assert rp.repair(problem, ["train000"], "semi_oracle").causes.as_set == known


def test_training_from_scratch_uses_the_given_function(model, given):
    def untrained():
        return nn.Sequential(nn.Linear(2, 4), nn.Tanh(), nn.Linear(4, 3)).double()

    given = {**given, "train": tuple(column[:60] for column in given["train"])}
    first, again = (rp.repair(problem_of(model, given, untrained=untrained), [], "reseed").model for _ in range(2))
    assert first[0].out_features == 4
    assert same_weights(first, again)


def png(pixels):
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_images_in_a_file_are_the_rows_of_their_tensors(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, size=(60, 4, 4), dtype=np.uint8)
    inputs = torch.from_numpy(pixels[:, None].astype(np.float32)) / 255
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2)).eval()
    predicted = model(inputs).argmax(dim=1)
    parts = {"train": slice(0, 40), "failures": slice(40, 50), "guard": slice(50, 60)}
    given = {part: (inputs[at], predicted[at] ^ (part == "failures")) for part, at in parts.items()}
    for part, (_, labels) in given.items():
        table = pd.DataFrame({"image": [png(each) for each in pixels[parts[part]]], "label": labels.numpy()})
        table.to_parquet(tmp_path / f"{part}.parquet", index=False)
    by_tensors = problem_of(model, given)
    by_files = problem_of(model, {part: tmp_path / f"{part}.parquet" for part in given}, classes=["0", "1"])
    assert torch.equal(*(rp.attribute(each, "ewc").influence.values for each in (by_tensors, by_files)))
    with pytest.raises(InputError, match="10 of 10 holdout rows are also in failures"):
        judged(by_files, given["failures"], given["guard"])


def test_columns_and_classes_of_files_are_those_given(model, given, tmp_path):
    names = np.array(["zero", "one", "two"])
    for part, (inputs, labels) in given.items():
        table = pd.DataFrame(inputs.numpy(), columns=["a", "b"]).assign(is_=names[labels.numpy()])
        table.assign(row=[f"{part}-{at}" for at in range(len(table))]).to_csv(tmp_path / f"{part}.csv", index=False)
    rows = {part: str(tmp_path / f"{part}.csv") for part in given}
    problem = problem_of(model, rows, classes=list(names), columns={"label": "is_", "id": "row"})
    table = rp.attribute(problem, "loss").to_pandas()
    assert table["example_id"].tolist() == [f"train-{at}" for at in table["position"]]
    assert table["label"].tolist() == names[given["train"][1].numpy()[table["position"]]].tolist()
    with pytest.raises(InputError, match="columns has no setting 'labels'"):
        problem_of(model, rows, columns={"labels": "is_"})


def test_the_snippet_of_the_documentation_runs_in_ten_lines(tmp_path, monkeypatch):
    module, snippet = (block for block in blocks(ROOT / "docs/library.md") if block.language == "python")
    (tmp_path / module.file).write_text(module.content)
    monkeypatch.syspath_prepend(tmp_path)
    lines = [line for line in snippet.content.splitlines() if line.strip()]
    until_the_table = next(at for at, line in enumerate(lines, start=1) if "to_pandas" in line)
    assert until_the_table <= 10
    with redirect_stdout(StringIO()) as printed:
        exec(compile(snippet.content, "library.md", "exec"), {})
    del sys.modules["my_model"]
    assert "example_id" in printed.getvalue()
    assert "Accepted." in printed.getvalue()


@pytest.mark.parametrize("command", ["import repair_pipeline", "import repair_pipeline.cli.main"])
def test_importing_the_package_imports_no_torch(command):
    heavy = "print([name for name in ('torch', 'pandas', 'mlflow', 'dagster', 'duckdb') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", f"import sys; {command}; {heavy}"], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_every_public_name_exists():
    assert sorted(rp.__all__) == rp.__all__
    assert all(getattr(rp, name).__name__.removeprefix("repair_pipeline.") in (name, "register") for name in rp.__all__)
    assert set(rp.__all__) <= set(dir(rp))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = rp.nothing


def test_python_m_is_the_command():
    done = subprocess.run([sys.executable, "-m", "repair_pipeline", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: repair [OPTIONS] COMMAND")


class Wrapped(nn.Module):
    """The model's outputs in a dictionary."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return {"hidden": x, "logits": self.model(x)}


def test_a_model_that_returns_a_dictionary_has_the_same_scores_and_its_repair_returns_one(model, given, problem):
    wrapped = problem_of(Wrapped(model), given)
    assert wrapped.classes == problem.classes
    expected, actual = (rp.attribute(of, "loss") for of in (problem, wrapped))
    assert actual.top(20) == expected.top(20)
    repaired = rp.repair(wrapped, actual.top(5), Newton()).model
    plain = rp.repair(problem, actual.top(5), Newton()).model
    inputs = given["guard"][0]
    assert torch.equal(repaired(inputs)["logits"], plain(inputs))
    assert wrapped.with_logits(repaired)(inputs).shape == plain(inputs).shape
