"""Test rows whose label is probably wrong."""

import pytest
import torch

from repair_pipeline.evaluation.doubtful_labels import SURE, doubtful_labels, wrong_label_probability

ROWS, CLASSES = 10_000, 4


def predictions(seed=0, sharpness=3.0):
    """log p(y|x) of a model that is right as often as it says, and labels drawn from it."""
    generator = torch.Generator().manual_seed(seed)
    scores = sharpness * torch.randn(ROWS, CLASSES, dtype=torch.float64, generator=generator)
    log_p = scores.log_softmax(dim=1)
    return log_p, torch.multinomial(log_p.exp(), 1, generator=generator).flatten()


def flipped(labels, rate, seed=1):
    generator = torch.Generator().manual_seed(seed)
    wrong = torch.rand(len(labels), generator=generator) < rate
    to = (labels + torch.randint(1, CLASSES, (len(labels),), generator=generator)) % CLASSES
    return torch.where(wrong, to, labels), wrong


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_agree_with_the_predictions_are_not_doubted(seed):
    log_p, labels = predictions(seed)
    probability, share = wrong_label_probability(log_p, labels)
    assert share < 0.005
    assert (probability >= SURE).sum() <= 5


def test_flipped_labels_are_found_and_their_share_is_estimated():
    log_p, labels = predictions(sharpness=10)
    given, wrong = flipped(labels, 0.05)
    probability, share = wrong_label_probability(log_p, given)
    doubted = probability >= SURE
    assert share == pytest.approx(0.05, abs=0.01)
    assert wrong[doubted].double().mean() > 0.9
    assert doubted[wrong].double().mean() > 0.6


def test_the_probability_is_the_share_of_wrong_labels_among_rows_that_have_it():
    log_p, labels = predictions(sharpness=10)
    given, wrong = flipped(labels, 0.1)
    probability, _ = wrong_label_probability(log_p, given)
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1.01)):
        of = (probability >= low) & (probability < high)
        assert probability[of].mean().item() == pytest.approx(wrong[of].double().mean().item(), abs=0.06)


def test_it_is_bayes_rule_with_a_confusion_of_labels():
    log_p, labels = predictions()
    given, _ = flipped(labels, 0.2)
    probability, share = wrong_label_probability(log_p, given)
    confusion = torch.full((CLASSES, CLASSES), share / (CLASSES - 1), dtype=torch.float64)
    confusion.fill_diagonal_(1 - share)
    joint = log_p.exp() * confusion[:, given].T  # p(true) p(given | true)
    expected = 1 - joint.gather(1, given[:, None]).flatten() / joint.sum(dim=1)
    torch.testing.assert_close(probability, expected, atol=0.05, rtol=0)  # the temperature is estimated, near 1


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_a_model_that_is_too_sure_or_too_shy_raises_no_other_doubts(temperature):
    log_p, labels = predictions()
    given, _ = flipped(labels, 0.05)
    other = (log_p / temperature).log_softmax(dim=1)
    torch.testing.assert_close(
        wrong_label_probability(other, given)[0], wrong_label_probability(log_p, given)[0], atol=1e-3, rtol=0
    )


def test_neither_the_order_of_rows_nor_that_of_classes_counts():
    log_p, labels = predictions()
    given, _ = flipped(labels, 0.05)
    probability, label = doubtful_labels([log_p], given)
    shuffled, renamed = torch.randperm(ROWS), torch.tensor([2, 0, 3, 1])
    again, _ = doubtful_labels([log_p[shuffled]], given[shuffled])
    torch.testing.assert_close(again, probability[shuffled], atol=1e-4, rtol=0)
    turned, said = doubtful_labels([log_p[:, renamed]], renamed.argsort()[given])
    torch.testing.assert_close(turned, probability, atol=1e-4, rtol=0)
    assert torch.equal(renamed[said], label)


def test_one_model_that_gives_the_label_clears_it():
    log_p, labels = predictions(sharpness=10)
    given, wrong = flipped(labels, 0.05)
    alone, _ = doubtful_labels([log_p], given)
    agreeing = torch.where(wrong[:, None], torch.eye(CLASSES, dtype=torch.float64)[given] * 9, log_p).log_softmax(dim=1)
    assert (alone[wrong] >= SURE).any()
    assert (doubtful_labels([log_p, agreeing], given)[0][wrong] == 0).all()


def test_models_that_say_different_other_labels_raise_no_doubt():
    log_p = torch.eye(3, dtype=torch.float64)[torch.zeros(50, dtype=torch.int64)] * 20
    other = torch.eye(3, dtype=torch.float64)[torch.ones(50, dtype=torch.int64)] * 20
    given = torch.full((50,), 2)
    assert (doubtful_labels([log_p.log_softmax(1), other.log_softmax(1)], given)[0] == 0).all()


def test_a_weak_model_that_agrees_hides_no_doubt():
    log_p, labels = predictions(sharpness=10)
    given, wrong = flipped(labels, 0.05)
    weak = (0.05 * log_p).log_softmax(dim=1)
    alone, together = (doubtful_labels(panel, given)[0] >= SURE for panel in ([log_p], [log_p, weak]))
    assert torch.equal(alone, together)
    assert wrong[together].sum() > 20
