"""SCRUB against its steps, taken by hand."""

from dataclasses import replace

import numpy as np
import torch

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.treatment import scrub
from repair_pipeline.treatment.scrub import Scrub
from repair_pipeline.types import Causes
from repair_pipeline_tests.problems import blobs, logistic


def softmax(logits):
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_steps_go_up_the_divergence_over_the_causes_and_down_over_the_rest(task, monkeypatch):
    rows = blobs(60, seed=4)
    small = replace(task, classifier=Classifier(logistic()), fit=rows)
    # The latest is the best, so that the last step comes out.
    rising = iter(range(9))
    monkeypatch.setattr(scrub, "repair_within_guard", lambda *_: lambda theta: next(rising))
    repaired = Scrub(alpha=0.3, ascents=1, epochs=3, learning_rate=0.01).repaired(small, Causes(tuple(rows.ids[:20])))

    features = np.concatenate([rows.inputs.numpy(), np.ones((60, 1))], axis=1)
    hat = np.concatenate([small.theta_hat[:12].reshape(3, 4).numpy(), small.theta_hat[12:, None].numpy()], axis=1)
    theta, first, second = hat, 0.0, 0.0
    forgotten, kept = np.arange(20), np.arange(20, 60)
    # In epochs of one batch: down; up and down; down.
    for step, (part, down) in enumerate([(kept, 1), (forgotten, 0), (kept, 1), (kept, 1)], start=1):
        x = features[part]
        p, teacher, labels = softmax(x @ theta.T), softmax(x @ hat.T), np.eye(3)[rows.labels.numpy()[part]]
        slope = (0.3 * (p - teacher) + (p - labels)) if down else -(p - teacher)
        gradient = slope.T @ x / len(part)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        theta = theta - 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-8)
    expected = np.concatenate([theta[:, :4].ravel(), theta[:, 4]])
    np.testing.assert_allclose(Classifier(repaired).theta_hat.numpy(), expected, rtol=1e-9)


def test_the_model_stays_where_every_epoch_breaks_the_guard(task):
    wrong = replace(task.tests, guard=replace(task.tests.query, labels=torch.full_like(task.tests.query.labels, 2)))
    causes = Causes(tuple(sorted(task.corrupted)))
    repaired = Scrub(learning_rate=0.01).repaired(replace(task, tests=wrong), causes)
    assert torch.equal(Classifier(repaired).theta_hat, task.theta_hat)
    assert not torch.equal(Classifier(Scrub(learning_rate=0.01).repaired(task, causes)).theta_hat, task.theta_hat)
