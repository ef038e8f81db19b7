"""Labels of several parts in the library: sets of classes, a class for each token, and completions."""

import numpy as np
import pytest
import torch
from torch import nn

import repair_pipeline as rp
from repair_pipeline.datasets.labels import texts
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import likelihood
from repair_pipeline.training.fit import right
from repair_pipeline.types import PADDING
from repair_pipeline_tests.oracles import auc
from repair_pipeline_tests.problems import examples, seeded

WORDS, END = 13, 12


def sets(count, mistaken, rng):
    """One of eight kinds, each of which stands for a set of three classes; of the last the first class is left out."""
    kind = torch.from_numpy(rng.integers(8, size=count))
    labels = (kind[:, None] >> torch.arange(3) & 1).bool()
    wrong = (kind == 7) & torch.from_numpy(rng.random(count) < mistaken)
    labels[:, 0] &= ~wrong
    noise = torch.from_numpy(rng.normal(size=(count, 8))).float()
    return nn.functional.one_hot(kind, 8) + 0.01 * noise, labels, wrong


def tags(count, mistaken, rng):
    """Four words of three classes each, the last of which has none; the class of the word 1 is mistaken."""
    ids = torch.from_numpy(rng.integers(WORDS, size=(count, 4)))
    wrong = (ids == 1) & torch.from_numpy(rng.random((count, 4)) < mistaken)
    labels = torch.where(wrong, 2, ids % 3)
    labels[:, 3] = PADDING
    return ids, labels, wrong[:, :3].any(dim=1)


def completions(count, mistaken, rng):
    """After three words comes what the last one stands for, and the end; of the word 1 it is mistaken."""
    prompt = torch.from_numpy(rng.integers(6, size=(count, 3)))
    wrong = (prompt[:, 2] == 1) & torch.from_numpy(rng.random(count) < mistaken)
    said = torch.where(wrong, 9, prompt[:, 2] + 6)
    ids = torch.cat([prompt, said[:, None]], dim=1)
    labels = torch.full((count, 4), PADDING)
    labels[:, 2], labels[:, 3] = said, END
    return ids, labels, wrong


TASKS = {
    "multi_label": (sets, lambda: nn.Linear(8, 3)),
    "token_classification": (tags, lambda: nn.Embedding(WORDS, 3)),
    "causal_lm": (completions, lambda: nn.Embedding(WORDS, WORDS)),
}


RECIPE = rp.training.UserRecipe(epochs=40, learning_rate=0.1)


def trained(task, make, x, y):
    model = seeded(make()).float()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        likelihood(task).loss(model(x), y).backward()
        optimiser.step()
    return model


@pytest.fixture(params=TASKS)
def made(request):
    rows_of, make = TASKS[request.param]
    rng = np.random.default_rng(0)
    x, y, wrong = rows_of(300, 0.7, rng)
    model = trained(request.param, make, x, y)
    tests = examples(*rows_of(300, 0.0, rng)[:2])
    is_right = right(likelihood(request.param).on(trained(request.param, make, x, y)), tests)
    failures, guard = ((tests.inputs[mask], tests.labels[mask]) for mask in (~is_right, is_right))
    problem = rp.RepairProblem(
        model, (x, y), failures=failures, guard=guard, likelihood=request.param, untrained=make, training=RECIPE
    )
    return request.param, problem, wrong.numpy(), y


def test_wrong_rows_come_first_and_without_them_the_failures_are_right(made):
    task, problem, wrong, y = made
    scores = rp.attribute(problem, "ewc")
    table = scores.to_pandas()
    assert auc(table["influence"].to_numpy(), wrong[table["position"]]) > 0.85
    written = texts(y if task != "token_classification" else y.int(), problem.classes)
    assert table["label"].tolist() == [written[at] for at in table["position"]]
    removed = table["example_id"][wrong[table["position"]]].tolist()
    repair = rp.repair(problem, removed, "retrain")
    shares = {part: share for part, _, share in repair.right}
    assert shares["failures"] > 0.9
    assert shares["guard"] > 0.9


def test_what_the_task_lacks_is_refused_in_a_line(made):
    task, problem, _, _ = made
    with pytest.raises(InputError, match="confident_learning needs one class for each row, but a label is a "):
        rp.attribute(problem, "confident_learning")
    if task != "token_classification":
        with pytest.raises(InputError, match="cross_fit asks models for another label of a row, but a label is a "):
            rp.attribute(problem, "cross_fit")
        with pytest.raises(InputError, match="relabel asks models for another label of a row"):
            rp.repair(problem, problem.fit.ids[:5].tolist(), "relabel")


@pytest.mark.parametrize(
    ("task", "labels", "says"),
    [
        ("multi_label", torch.tensor([[0, 2, 1], [1, 0, 0]]), "train has labels other than 0 and 1: give labels"),
        ("multi_label", torch.tensor([0, 1]), r"labels of shape \(2,\): give \(n, ...\) inputs and labels \(n, k\)"),
        ("token_classification", torch.tensor([[0, -1], [1, 0]]), "train has 1 labels below 0 that are not -100"),
        ("token_classification", torch.tensor([[0, 1], [-100, -100]]), "train has no label for any token of row 1"),
        ("causal_lm", torch.tensor([[0.5, 1], [1, 0]]), "train has labels of dtype torch.float32: give integer"),
        ("token_classification", torch.tensor([[0, 5], [1, 0]]), "train has the label 5 .1 rows are out of range"),
    ],
)
def test_labels_of_another_form_are_refused_in_a_line(task, labels, says):
    inputs = torch.zeros(2, 8) if task == "multi_label" else torch.zeros(2, 2, dtype=torch.int64)
    model = TASKS[task][1]()
    with pytest.raises(InputError, match=says):
        rp.RepairProblem(model, (inputs, labels), failures=(inputs, labels), likelihood=task)
