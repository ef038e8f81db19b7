"""Linear influence is Koh & Liang's."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.autograd.functional import jacobian

from repair_pipeline.continual.solve import ConjugateResiduals, Solution
from repair_pipeline.influence import linear
from repair_pipeline.influence.linear import LinearInfluence
from repair_pipeline.problem.curvature import curvature_of


def gradients(task, rows):
    return jacobian(lambda theta: task.classifier(theta, rows), task.theta_hat).numpy()


def empirical(task):
    slopes = gradients(task, task.fit)
    return slopes.T @ slopes / len(slopes)


def ggn(task):
    slopes = jacobian(lambda theta: task.classifier.logits(theta, task.fit.inputs), task.theta_hat).numpy()
    p = task.classifier.logits(task.theta_hat, task.fit.inputs).softmax(dim=1).numpy()
    hessians = np.einsum("nk,kl->nkl", p, np.eye(3)) - np.einsum("nk,nl->nkl", p, p)
    return np.einsum("nkp,nkl,nlq->pq", slopes, hessians, slopes) / len(p)


@pytest.fixture
def exactly(monkeypatch):
    """A solver that goes on to the end."""
    monkeypatch.setattr(linear, "ConjugateResiduals", partial(ConjugateResiduals, tolerance=1e-9, passes=500))


def koh_and_liang(task, fisher, g):
    """−γ gᵀ (F̂ + δI)⁻¹ ∇log p(z), with γ = 1/N and δ a hundredth of F̂'s mean diagonal entry."""
    damping = 0.01 * np.diag(empirical(task)).mean()
    v = np.linalg.solve(fisher + damping * np.eye(len(fisher)), g)
    return -gradients(task, task.fit) @ v / len(task.fit)


@pytest.mark.parametrize(("fisher", "matrix"), [("empirical", empirical), ("expected", ggn)])
def test_scores_are_koh_and_liangs(task, exactly, fisher, matrix):
    scores = LinearInfluence(guard="none", fisher=fisher).scores(task)
    expected = koh_and_liang(task, matrix(task), gradients(task, task.tests.query).sum(axis=0))
    np.testing.assert_allclose(scores.values, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


def test_the_guard_adds_its_gradient_at_its_weight(task, exactly):
    scores = LinearInfluence(guard_rho=0.5).scores(task)
    tau = 0.5 * len(task.tests.query) / len(task.tests.guard)
    g = gradients(task, task.tests.query).sum(axis=0) + tau * gradients(task, task.tests.guard).sum(axis=0)
    expected = koh_and_liang(task, empirical(task), g)
    np.testing.assert_allclose(scores.values, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert scores.notes["guard_tau"] == tau


def test_gamma_scales_the_scores(task):
    once, thrice = (LinearInfluence(gamma=gamma).scores(task).values for gamma in (0.1, 0.3))
    torch.testing.assert_close(thrice, 3 * once, rtol=1e-6, atol=1e-9)


def test_both_solvers_agree_on_the_ranking(task):
    gd, sa = (LinearInfluence(solver=solver, damping=100.0).scores(task).values.numpy() for solver in ("gd", "sa"))
    assert np.corrcoef(gd, sa)[0, 1] > 0.95


@pytest.mark.parametrize(("residual", "converged"), [(0.09, 1.0), (0.11, 0.0)])
def test_the_table_says_whether_the_solver_converged(task, monkeypatch, residual, converged):
    monkeypatch.setattr(linear, "ConjugateResiduals", lambda **_: lambda curvature, damping, g: Solution(g, residual))
    notes = LinearInfluence().scores(task).notes
    assert notes["residual"] == residual
    assert notes["converged"] == converged
    assert notes["gamma"] == 1 / len(task.fit)
    assert notes["damping"] == pytest.approx(0.01 * np.diag(empirical(task)).mean())
    assert notes["failures"] == len(task.tests.query)


@pytest.mark.parametrize("wrong", [{"gamma": 0.0}, {"damping": 0.0}, {"solver": "cg"}, {"curvature": "ggn"}])
def test_settings_without_a_meaning_are_refused(wrong):
    with pytest.raises(ValidationError):
        LinearInfluence(**wrong)


@pytest.mark.parametrize("name", ["diagonal", "kfac", "ekfac"])
@pytest.mark.parametrize("fisher", ["empirical", "expected"])
def test_an_approximated_curvature_is_solved_in_closed_form(task, name, fisher):
    scores = LinearInfluence(guard="none", curvature=name, fisher=fisher).scores(task)
    curvature, p = curvature_of(task, name, fisher), len(task.theta_hat)
    units = torch.eye(p, dtype=torch.float64)
    alone = torch.stack([curvature.quadratic(unit) for unit in units])
    pairs = torch.stack([torch.stack([curvature.quadratic(one + other) for other in units]) for one in units])
    matrix = ((pairs - alone[:, None] - alone[None, :]) / 2).numpy()
    expected = koh_and_liang(task, matrix, gradients(task, task.tests.query).sum(axis=0))
    np.testing.assert_allclose(scores.values, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    assert scores.notes["residual"] == 0


def test_a_solver_beside_a_closed_form_is_refused():
    with pytest.raises(ValidationError, match="closed form"):
        LinearInfluence(curvature="kfac", solver="sa")


def test_drawn_labels_of_the_exact_curvature_are_the_models(task):
    task = replace(task, generator=torch.Generator().manual_seed(3))
    drawn = curvature_of(task, "exact", "monte_carlo")
    given = curvature_of(task, "exact", "empirical")
    share = task.classifier.logits(task.theta_hat, task.fit.inputs).softmax(dim=1)
    assert drawn.examples.labels.shape == task.fit.labels.shape
    assert not torch.equal(drawn.examples.labels, given.examples.labels)
    # Every label is drawn as often as the model expects, to within chance.
    counts = torch.bincount(drawn.examples.labels, minlength=3)
    torch.testing.assert_close(counts / len(task.fit), share.mean(dim=0).float(), rtol=0, atol=0.06)
