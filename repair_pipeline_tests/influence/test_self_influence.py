"""Self-influence, against a loop over rows and labels."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.influence.self_influence import SelfInfluence

KINDS = ("empirical", "expected", "monte_carlo")


def loop(task, rows):
    """‖∇log p(y|x)‖² of every row under every label, and p(y|x), by backward passes."""
    model = task.classifier.module(task.theta_hat)
    squares, probabilities = torch.zeros(len(rows), 3).double(), torch.zeros(len(rows), 3).double()
    for row, x in enumerate(rows.inputs):
        log_p = model(x[None]).log_softmax(dim=1)[0]
        probabilities[row] = log_p.detach().exp()
        for label in range(3):
            gradients = torch.autograd.grad(log_p[label], list(model.parameters()), retain_graph=True)
            squares[row, label] = nn.utils.parameters_to_vector(gradients).square().sum()
    return squares, probabilities


def test_empirical_is_the_squared_gradient_at_the_given_label(task):
    squares, _ = loop(task, task.fit)
    values = SelfInfluence().scores(task).values
    torch.testing.assert_close(values, squares.gather(1, task.fit.labels[:, None])[:, 0], rtol=1e-10, atol=1e-14)


def test_expected_weighs_every_label_by_its_probability(task):
    squares, probabilities = loop(task, task.fit)
    values = SelfInfluence(fisher="expected").scores(task).values
    torch.testing.assert_close(values, (probabilities * squares).sum(dim=1), rtol=1e-10, atol=1e-14)


def test_monte_carlo_draws_a_label_a_row_and_tends_to_expected(task):
    few = replace(task, fit=task.fit[:30])
    squares, probabilities = loop(few, few.fit)
    drawn = torch.stack([SelfInfluence(fisher="monte_carlo").scores(few).values for _ in range(400)])
    distance = (drawn[:, :, None] - squares).abs() / squares
    assert distance.amin(dim=2).max() < 1e-10
    expected = (probabilities * squares).sum(dim=1)
    error = ((probabilities * (squares - expected[:, None]).square()).sum(dim=1) / 400).sqrt()
    assert ((drawn.mean(dim=0) - expected).abs() < 5 * error + 1e-10).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_scores_add_up_to_n_traces_of_the_fisher(task, kind):
    by_id = torch.argsort(torch.tensor([int(name.removeprefix("train")) for name in task.fit.ids]))
    fresh = replace(task, generator=torch.Generator().manual_seed(0))
    labels = labels_of(kind, task.classifier, fresh.generator)
    fisher = fisher_diagonal(task.classifier, task.theta_hat, task.fit[by_id], labels=labels)
    total = SelfInfluence(fisher=kind).scores(task).values.sum()
    torch.testing.assert_close(total, len(task.fit) * fisher.sum(), rtol=1e-10, atol=0)


def test_only_the_empirical_kind_reads_the_labels(task):
    relabelled = replace(task, fit=replace(task.fit, labels=(task.fit.labels + 1) % 3))

    def values(kind, task):
        return SelfInfluence(fisher=kind).scores(replace(task, generator=torch.Generator().manual_seed(0))).values

    assert [torch.equal(values(kind, task), values(kind, relabelled)) for kind in KINDS] == [False, True, True]
