"""The stochastic maximisers: which rows they draw, where they land, when they stop."""

import numpy as np
import pytest
import torch

from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.learner import learn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.maximise import EarlyStopped, OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline_tests.oracles import Newton
from repair_pipeline_tests.problems import blobs, logistic


def drawn(weights, steps, batch_size, seed=0):
    """How much each row counts in the mean over each of a run's batches: (steps, rows)."""
    counts = []

    def objective(theta, batch):
        counts.append(torch.bincount(batch, minlength=len(weights)) / len(batch))
        return 0 * theta.sum()

    generator = torch.Generator().manual_seed(seed)
    OneCycle(generator, steps=steps, batch_size=batch_size)(objective, weights, torch.zeros(1))
    return torch.stack(counts).double().numpy()


@pytest.mark.parametrize("batch_size", [5, 128], ids=["many batches an epoch", "one batch an epoch"])
@pytest.mark.parametrize(
    ("failures", "guard", "tau"),
    [(6, 60, 0.1), (40, 90, 0.25), (20, 10, 0.02), (10, 10, 1.0), (4, 2, 2.0), (2, 1, 6.0)],
)
def test_batches_are_unbiased_for_the_powers_of_their_rows(failures, guard, tau, batch_size):
    weights = torch.cat([torch.ones(failures), torch.full((guard,), tau)])
    shares = drawn(weights, steps=2000, batch_size=batch_size)
    of_failures = shares[:, :failures].sum(axis=1)
    expected = failures / weights.sum().item()
    # Batches of one epoch depend on each other: each epoch's mean counts as one draw.
    error = of_failures.reshape(-1, 20).mean(axis=1).std() / np.sqrt(len(shares) / 20)
    assert abs(of_failures.mean() - expected) <= 4 * error + 1e-6


def test_rows_of_one_power_are_drawn_alike():
    weights = torch.cat([torch.ones(6), torch.full((60,), 0.1)])
    shares = drawn(weights, steps=4000, batch_size=128)
    error = shares.std(axis=0) / np.sqrt(len(shares))
    for rows in (slice(0, 6), slice(6, 66)):
        mean = shares[:, rows].mean()
        assert (np.abs(shares[:, rows].mean(axis=0) - mean) <= 5 * error[rows] + 1e-12).all()


def test_an_epoch_without_tempering_holds_every_row_once():
    shares = drawn(torch.ones(20), steps=8, batch_size=5)
    np.testing.assert_allclose(shares.reshape(2, 4, 20).sum(axis=1), 1 / 5)
    assert (shares[:4] != shares[4:]).any()


def test_every_row_of_a_large_tempered_set_is_shown_in_time():
    shares = drawn(torch.cat([torch.ones(5), torch.full((50,), 0.1)]), steps=200, batch_size=64)
    assert (shares > 0).any(axis=0).all()


@pytest.fixture
def problem():
    classifier, failures, guard = Classifier(logistic()), blobs(20, seed=1), blobs(60, seed=2)
    q = laplace(classifier.theta_hat, torch.full((15,), 0.5).double(), gamma=0.01)
    return lambda maximise: learn(EWC(maximise, "frozen"), q, failures, classifier, Factor(guard, 1 / 3)).mean, q.mean


def test_one_cycle_lands_at_the_optimum(problem, generator):
    learned, start = problem
    optimum = learned(Newton())
    assert (start - optimum).norm() > 0.3
    assert (learned(OneCycle(generator, peak=0.03)) - optimum).norm() < 0.1 * (start - optimum).norm()


def test_the_same_stream_gives_the_same_bits(problem):
    learned, _ = problem
    runs = [learned(OneCycle(torch.Generator().manual_seed(seed), steps=20)) for seed in (3, 3, 4)]
    assert torch.equal(runs[0], runs[1])
    assert not torch.equal(runs[0], runs[2])


def test_progress_reaches_its_end(problem, generator):
    seen = []
    learned, _ = problem
    learned(OneCycle(generator, steps=4, progress=lambda done, total: seen.append((done, total))))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def climb(scores, patience, max_steps=50, check_every=1):
    """Ascend θ steadily; ``scores`` are the results of the checks. Returns θ, and θ at every check."""
    checked, remaining_scores = [], iter(scores)

    def score(theta):
        checked.append(theta.item())
        return next(remaining_scores)

    stopped = EarlyStopped(torch.Generator(), score, 0.1, 4, patience, max_steps, check_every)
    theta = stopped(lambda theta, batch: theta.sum(), torch.ones(4), torch.zeros(1))
    return theta.item(), checked


def test_early_stopping_returns_the_best_it_checked():
    theta, checked = climb([0.0, 1.0, 3.0, 2.0, 2.0, 2.0, 9.0], patience=3)
    assert theta == checked[2]
    assert len(checked) == 6


def test_the_start_counts_where_nothing_is_better():
    theta, checked = climb([5.0, 1.0, 2.0, 3.0], patience=3)
    assert theta == 0
    assert len(checked) == 4


def test_a_tie_is_no_progress():
    theta, checked = climb([1.0, 1.0, 1.0, 9.0], patience=2)
    assert theta == 0
    assert len(checked) == 3


def test_checks_come_as_often_as_asked_and_no_longer_than_max_steps():
    theta, checked = climb(range(100), patience=3, max_steps=12, check_every=4)
    assert len(checked) == 4
    assert theta == checked[-1] == pytest.approx(12 * 0.1, rel=1e-4)


def test_a_score_that_is_not_a_number_is_never_the_best():
    theta, checked = climb([0.0, float("nan"), float("nan"), 9.0], patience=2)
    assert theta == 0
    assert len(checked) == 3


def test_one_cycle_with_a_score_returns_the_best_theta_on_the_way():
    def run(score):
        maximise = OneCycle(torch.Generator().manual_seed(0), steps=40, peak=0.1, score=score)
        return maximise(lambda theta, batch: theta.sum(), torch.ones(4), torch.zeros(1))

    end = run(None).item()
    assert run(lambda theta: theta.item()).item() == end
    assert run(lambda theta: -theta.item()).item() == 0
    assert run(lambda theta: -abs(theta.item() - end / 2)).item() == pytest.approx(end / 2, abs=end / 5)
