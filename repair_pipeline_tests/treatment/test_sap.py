"""SAP against its formula: singular values and projections by numpy, of inputs that are computed by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.errors import InputError
from repair_pipeline.treatment import sap
from repair_pipeline.treatment.fitness import Fitness
from repair_pipeline.treatment.sap import SAP
from repair_pipeline.types import Causes
from repair_pipeline_tests.problems import blobs, examples, seeded

NOTHING = Causes(())


def on(task, model, rows):
    """The task with another model and other rows."""
    classifier = Classifier(model)
    return replace(
        task, classifier=classifier, fit=rows, log_lik_hat=log_likelihoods(classifier, classifier.theta_hat, rows)
    )


def projection(inputs, alpha):
    """U Λ Uᵀ of the rows of ``inputs``."""
    u, sigma, _ = np.linalg.svd(inputs.T, full_matrices=False)
    shares = sigma**2 / (sigma**2).sum()
    return u @ np.diag(alpha * shares / ((alpha - 1) * shares + 1)) @ u.T


@pytest.fixture
def projected(monkeypatch):
    """SAP, with the most projected model chosen."""
    changed = iter(range(99))
    monkeypatch.setattr(sap, "_accuracy", lambda task, model: next(changed))

    def repaired(task, **settings):
        return SAP(**settings).repaired(task, NOTHING)

    return repaired


def test_weights_are_projected_onto_the_inputs_of_the_likeliest_rows(task, projected):
    model, rows = seeded(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))), blobs(60, seed=4)
    made = projected(on(task, model, rows), trusted=20, alphas=(3.0,))
    first, last = model[0], model[2]
    with torch.no_grad():
        hidden = torch.tanh(rows.inputs @ first.weight.T + first.bias)
        p = (hidden @ last.weight.T + last.bias).softmax(dim=1).numpy()
    trusted = np.argsort(-p[np.arange(60), rows.labels.numpy()])[:20]
    for layer, before, inputs in [(made[0], first, rows.inputs), (made[2], last, hidden)]:
        expected = before.weight.detach().numpy() @ projection(inputs.numpy()[trusted], 3.0)
        np.testing.assert_allclose(layer.weight.detach(), expected, rtol=1e-9)
        assert torch.equal(layer.bias, before.bias)


def test_a_convolution_is_projected_onto_the_patches_it_sees(task, projected):
    generator = torch.Generator().manual_seed(0)
    model = seeded(nn.Sequential(nn.Conv2d(2, 4, (2, 3), stride=(1, 2), padding=(0, 1)), nn.Flatten(), nn.ReLU()))
    inputs = torch.randn(16, 2, 3, 4, dtype=torch.float64, generator=generator)
    task = on(task, model, examples(inputs, torch.arange(16) % 3))
    made = projected(task, trusted=8, alphas=(2.0,))
    trusted = inputs[task.log_lik_hat.argsort(descending=True)[:8]]
    padded = np.pad(trusted.numpy(), ((0, 0), (0, 0), (0, 0), (1, 1)))
    patches = [image[:, i : i + 2, j : j + 3].ravel() for image in padded for i in (0, 1) for j in (0, 2)]
    weight = model[0].weight.detach().numpy().reshape(4, 12)
    expected = (weight @ projection(np.stack(patches), 2.0)).reshape(4, 2, 2, 3)
    np.testing.assert_allclose(made[0].weight.detach(), expected, rtol=1e-9)


def test_without_scaling_the_projection_is_the_identity(task, projected):
    task = on(task, seeded(nn.Linear(4, 3)), blobs(60, seed=4))
    weights = [Classifier(projected(task, alphas=(alpha,))).theta_hat for alpha in (10.0, 1e12)]
    torch.testing.assert_close(weights[1], task.theta_hat, rtol=1e-8, atol=0)
    assert not torch.allclose(weights[0], task.theta_hat, rtol=0.05)


@pytest.mark.parametrize(("trusted", "others"), [(20, 40), (1000, 30)])
def test_rows_that_are_not_trusted_are_not_read(task, projected, trusted, others):
    task = on(task, seeded(nn.Linear(4, 3)), blobs(60, seed=4))
    last = task.log_lik_hat.argsort()[:others]
    elsewhere = task.fit.inputs.index_fill(0, last, 7.0)
    one, other = (
        projected(replace(task, fit=replace(task.fit, source=inputs)), trusted=trusted, alphas=(3.0,))
        for inputs in (task.fit.inputs, elsewhere)
    )
    assert torch.equal(one.weight, other.weight)


@pytest.mark.parametrize(
    ("accuracies", "chosen"),
    [
        # (query_tuning, guard) of θ̂, then of α = 1e6, 1e5, 1e4; at 0.25 failures 0.75, 0.8, 0.8375, 0.8125.
        ([(0, 1), (0.5, 0.9), (0.8, 0.85), (1, 0.75)], 1e5),
        ([(0, 1), (0.5, 0.8), (0.8, 0.6), (1, 0.6)], None),
        ([(0, 1), (0, 1), (0, 1), (0, 1)], None),  # as good as θ̂
    ],
)
def test_alpha_is_chosen_by_accuracy_at_the_natural_mix(task, monkeypatch, accuracies, chosen):
    task = replace(on(task, seeded(nn.Linear(4, 3)), blobs(60, seed=4)), tests=replace(task.tests, error_rate=0.25))
    reached = iter(accuracies)
    monkeypatch.setattr(sap, "fitness", lambda task, model: _fitness(*next(reached)))
    made = Classifier(SAP(alphas=(1e4, 1e6, 1e5)).repaired(task, NOTHING)).theta_hat
    if chosen is None:
        assert torch.equal(made, task.theta_hat)
    else:
        reached = iter([(0, 0), (1, 1)])
        assert torch.equal(made, Classifier(SAP(alphas=(chosen,)).repaired(task, NOTHING)).theta_hat)
        assert not torch.equal(made, task.theta_hat)


def _fitness(tuning, guard):
    return Fitness(tuning_accuracy=tuning, tuning_probability=0.0, guard_accuracy=guard)


def test_a_model_without_a_matrix_is_refused(task):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3, dtype=torch.float64))

        def forward(self, x):
            return self.scale * x[:, :3]

    with pytest.raises(InputError, match="nothing to project"):
        SAP().repaired(on(task, Scaled(), blobs(60, seed=4)), NOTHING)
