"""Suggested labels: Bayes' rule, and probabilities that come true."""

import numpy as np
import pytest
import torch

from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.problem.cross_fit import cross_fit
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.types import OutOfFold


def test_soft_labels_are_bayes_rule():
    given, harmful = torch.tensor([0, 1, 2, 1]), torch.tensor([0.0, 1.0, 0.3, 0.5], dtype=torch.float64)
    model = torch.tensor([[0.2, 0.5, 0.3], [0.6, 0.3, 0.1], [0.1, 0.3, 0.6], [0.0, 1.0, 0.0]], dtype=torch.float64)
    found = made(model, given).soft_labels(given, harmful).numpy()
    for row in range(3):
        for label in range(3):
            # p(y) = Σ over "given is wrong" of p(wrong) p(y | wrong)
            wrong = 0.0 if label == given[row] else float(model[row, label] / (1 - model[row, given[row]]))
            right = float(label == given[row])
            due = (1 - float(harmful[row])) * right + float(harmful[row]) * wrong
            assert found[row, label] == pytest.approx(due, abs=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    assert found[0].tolist() == [1, 0, 0]  # surely right: the given label
    assert found[1, 1] == 0  # surely wrong: nothing of it
    assert found[3].tolist() == [0.25, 0.5, 0.25]  # a model that excludes all others says nothing about them


def made(model, given):
    """Suggestions of a model, whose confidence is as right on clean rows as it says."""
    clean = torch.tensor([[0.9, 0.1, 0.0], [0.1, 0.8, 0.1]], dtype=torch.float64)
    predicted = OutOfFold(model, clean, torch.tensor([0, 1]), failures=1)
    return suggestions(SOFTMAX, predicted, given, torch.ones(len(given), dtype=torch.float64), 0.1)


def test_a_suggestion_is_the_likeliest_of_the_other_labels():
    model = torch.tensor([[0.9, 0.04, 0.06], [0.2, 0.5, 0.3]], dtype=torch.float64)
    assert made(model, torch.tensor([0, 0])).labels.tolist() == [2, 1]


CLASSES = 4


def world(seed, sharpness, rows=20_000, clean=8_000, noise=0.3):
    """Rows whose p(y|x) is known, 30% of D's labels drawn anew among the others, and what models say of them.

    Returns the predictions, the given and true labels, and the exact P(the given label is wrong).
    """
    draw = np.random.default_rng(seed)
    scores = 1.5 * draw.normal(size=(rows + clean, CLASSES))
    exact = torch.tensor(scores, dtype=torch.float64).softmax(dim=1)
    true = torch.multinomial(exact, 1, generator=torch.Generator().manual_seed(seed)).flatten()
    flipped = torch.tensor(draw.random(rows + clean) < noise)
    given = torch.where(flipped, (true + torch.tensor(draw.integers(1, CLASSES, rows + clean))) % CLASSES, true)
    at_given = exact.gather(1, given[:, None]).flatten()
    right = (1 - noise) * at_given
    harmful = 1 - right / (right + noise / (CLASSES - 1) * (1 - at_given))
    said = (sharpness * exact.log()).softmax(dim=1)
    # The clean rows are one sample, "failures" first by position only, so their natural share is their share.
    predicted = OutOfFold(said[:rows], said[rows:], true[rows:], failures=clean // 4)
    return predicted, given[:rows], true[:rows], harmful[:rows]


# Of models that are not sure enough, the confidence in the other labels is only nearly calibrated: uncalibrated, the
# probabilities of the second are wrong by up to 0.11, and those of the third by up to 0.13.
@pytest.mark.parametrize(("sharpness", "within"), [(1.0, 0.03), (2.0, 0.03), (0.5, 0.07)])
def test_suggestions_are_right_as_often_as_said(sharpness, within):
    predicted, given, true, harmful = world(0, sharpness)
    made = suggestions(SOFTMAX, predicted, given, harmful, 0.25)
    said, right = made.probability.numpy(), (made.labels == true).double().numpy()
    for part in np.array_split(np.argsort(said), 8):
        assert abs(said[part].mean() - right[part].mean()) < within
    assert said.max() > 0.9


def test_the_probability_of_a_suggestion_is_at_most_that_of_harm():
    predicted, given, _, harmful = world(1, 1.0, rows=500, clean=400)
    made = suggestions(SOFTMAX, predicted, given, harmful, 0.25)
    assert ((made.probability >= 0) & (made.probability <= harmful)).all()
    assert (suggestions(SOFTMAX, predicted, given, torch.zeros_like(harmful), 0.25).probability == 0).all()


def test_harm_is_minus_log_p_in_nats_and_comes_as_often_as_said():
    predicted, given, true, exact = world(2, 1.0)
    values, harmful = harm(SOFTMAX, predicted, given, 0.25)
    assert values[:50].tolist() == pytest.approx(
        [-np.log(float(predicted.fit[row, given[row]])) for row in range(50)], rel=1e-12
    )
    # π₀ is bounded from above by Storey's estimate, so P(harmful) is at most somewhat too low.
    assert 0.6 * exact.mean() < harmful.mean() < 1.05 * exact.mean()
    for part in np.array_split(np.argsort(harmful.numpy()), 8):
        assert harmful[part].mean() < (given != true)[part].double().mean() + 0.05


def test_neither_depends_on_the_order_of_rows_and_a_probability_of_zero_is_finite():
    predicted, given, _, _ = world(3, 1.0, rows=300, clean=200)
    predicted.fit[0, given[0]] = 0.0
    order, clean = torch.randperm(300), torch.cat([torch.randperm(50), 50 + torch.randperm(150)])
    moved = OutOfFold(predicted.fit[order], predicted.clean[clean], predicted.clean_labels[clean], predicted.failures)
    values, harmful = harm(SOFTMAX, predicted, given, 0.25)
    for one, other in zip((values, harmful), harm(SOFTMAX, moved, given[order], 0.25), strict=True):
        torch.testing.assert_close(one[order], other, rtol=1e-10, atol=1e-12)
    one, other = (
        suggestions(SOFTMAX, predicted, given, harmful, 0.25),
        suggestions(SOFTMAX, moved, given[order], harmful[order], 0.25),
    )
    torch.testing.assert_close(one.probability[order], other.probability, rtol=1e-10, atol=1e-12)
    assert torch.equal(one.others[order], other.others)
    assert values.isfinite().all()


def test_copies_of_failures_are_suggested_their_true_label(task):
    given, planted = task.fit.labels, task.fit.having(task.corrupted)
    predicted = cross_fit(task)
    _, harmful = harm(SOFTMAX, predicted, given, task.tests.failure_share)
    made = suggestions(SOFTMAX, predicted, given, harmful, task.tests.failure_share)
    assert (given[planted] == 1).all()
    assert (made.labels[planted] == 0).double().mean() > 0.9
    assert harmful[planted].mean() > 5 * harmful[~planted].mean()
    assert made.probability[planted].mean() > 5 * made.probability[~planted].mean()
