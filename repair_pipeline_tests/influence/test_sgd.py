"""SGD-influence end to end on the small network."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from torch import nn

from repair_pipeline.continual.trajectory import epochs_of_batches
from repair_pipeline.influence.sgd import SGDInfluence


def log_p(task, model, factors):
    """Σ power · log p(Z|θ), by torch alone."""
    with torch.no_grad():
        return sum(
            -power * nn.functional.cross_entropy(model(rows.inputs), rows.labels, reduction="sum").item()
            for rows, power in factors
        )


def trained_without(task, method, left_out):
    """The base model after torch's SGD over the method's batches, without one row in them."""
    rows = task.fit[torch.from_numpy(np.argsort(task.fit.ids))]
    stream = torch.Generator().manual_seed(0)
    model = copy.deepcopy(task.classifier.module(task.theta_hat))
    optimiser = torch.optim.SGD(model.parameters(), lr=method.learning_rate)
    for batch in epochs_of_batches(len(rows), method.batch_size, method.epochs, stream):
        kept = batch[torch.from_numpy(rows.ids[batch.numpy()] != left_out)]
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(rows.inputs[kept]), rows.labels[kept], reduction="sum")
        (loss / len(batch)).backward()
        optimiser.step()
    return model


@pytest.mark.parametrize("guard", ["none", "joint"])
def test_scores_agree_with_leaving_rows_out(task, guard):
    method = SGDInfluence(guard=guard, guard_rho=0.5, epochs=3, learning_rate=0.05)
    scores = method.scores(task)
    factors = [(task.tests.query, 1.0)]
    if guard == "joint":
        factors.append((task.tests.guard, 0.5 * len(task.tests.query) / len(task.tests.guard)))
    whole = log_p(task, trained_without(task, method, "none"), factors)
    some = range(0, len(task.fit), 4)
    actual = [log_p(task, trained_without(task, method, task.fit.ids[at]), factors) - whole for at in some]
    estimate = scores.values[list(some)]
    assert pearsonr(estimate, actual).statistic >= 0.99
    assert spearmanr(estimate, actual).statistic >= 0.99
    np.testing.assert_allclose(estimate, actual, rtol=0.2, atol=0.02 * np.abs(actual).max())


def test_notes_say_what_the_trajectory_took(task):
    steps = 2 * math.ceil(len(task.fit) / 50)
    notes = SGDInfluence(epochs=2, batch_size=50, learning_rate=0.1).scores(task).notes
    checkpoints = 1 + math.ceil(steps / math.isqrt(steps))
    assert {name: notes[name] for name in ("steps", "learning_rate", "checkpoints")} == {
        "steps": steps,
        "learning_rate": 0.1,
        "checkpoints": checkpoints,
    }
    assert notes["checkpoint_megabytes"] == checkpoints * len(task.theta_hat) * 8 / 1e6
    assert notes["failures"] == len(task.tests.query)


def test_progress_reaches_its_end_once(task):
    seen = []
    SGDInfluence(epochs=1).scores(replace(task, progress=lambda done, total: seen.append((done, total))))
    assert seen == [(done, seen[-1][1]) for done in range(1, seen[-1][1] + 1)]
