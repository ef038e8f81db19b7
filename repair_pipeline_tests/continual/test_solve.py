"""Both solvers, against dense linear algebra."""

import pytest
import torch

from repair_pipeline.continual.curvature import Curvature, empirical_fisher, ggn
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.solve import ConjugateResiduals, Solution, Solver, StochasticApproximation
from repair_pipeline_tests.problems import blobs, logistic

DAMPING = 0.2
D, Z = blobs(40, seed=1), blobs(12, seed=2)
CURVATURES = {"empirical": empirical_fisher, "ggn": ggn}


@pytest.fixture(params=CURVATURES.values(), ids=CURVATURES)
def curvature(request):
    classifier = Classifier(logistic())
    return request.param(classifier, classifier.theta_hat, D)


@pytest.fixture
def damped(curvature):
    """C + δI, dense."""
    unit = torch.eye(15, dtype=torch.float64)
    return torch.stack([curvature.product(column) for column in unit]) + DAMPING * unit


@pytest.fixture
def g():
    classifier = Classifier(logistic())
    return classifier.gradients(classifier.theta_hat, Z).sum(dim=0)


def residual(damped, v, g):
    return ((damped @ v - g).norm() / g.norm()).item()


def test_conjugate_residuals_is_the_dense_solution(curvature, damped, g):
    solution = ConjugateResiduals(tolerance=1e-10, passes=30)(curvature, DAMPING, g)
    torch.testing.assert_close(solution.v, torch.linalg.solve(damped, g), rtol=1e-7, atol=1e-9)


def test_the_stochastic_approximation_approximates_the_dense_solution(curvature, damped, g, generator):
    solution = StochasticApproximation(generator, passes=1500, batch_size=400)(curvature, DAMPING, g)
    exact = torch.linalg.solve(damped, g)
    assert (solution.v - exact).norm() < 0.1 * exact.norm()
    assert solution.residual < 0.05


@pytest.mark.parametrize("passes", [1, 4])
@pytest.mark.parametrize("make", [ConjugateResiduals, StochasticApproximation])
def test_the_residual_is_the_true_one_converged_or_not(curvature, damped, g, generator, make, passes):
    solver = make(passes=passes) if make is ConjugateResiduals else make(generator, passes=passes)
    assert isinstance(solver, Solver)
    solution = solver(curvature, DAMPING, g)
    assert solution.residual == pytest.approx(residual(damped, solution.v, g), rel=1e-8)
    assert solution.residual > 1e-3


def test_no_descent_leaves_a_smaller_residual_after_as_many_products(curvature, damped, g):
    largest = torch.linalg.eigvalsh(damped)[-1]
    descended, residuals = torch.zeros_like(g), []
    for passes in range(1, 9):
        descended = descended + (g - damped @ descended) / largest
        residuals.append(ConjugateResiduals(tolerance=1e-12, passes=passes)(curvature, DAMPING, g).residual)
        assert residuals[-1] <= residual(damped, descended, g) * (1 + 1e-9)
    assert residuals == sorted(residuals, reverse=True)


def test_it_stops_at_the_tolerance_and_spends_no_product_more(curvature, damped, g):
    asked = []

    def of_rows(rows, v):
        asked.append(v)
        return curvature.of_rows(rows, v)

    watched = Curvature(of_rows, D)
    first = ConjugateResiduals(tolerance=0.1, passes=30)(watched, DAMPING, g)
    assert first.residual <= 0.1
    assert ConjugateResiduals(tolerance=1e-12, passes=len(asked) - 1)(curvature, DAMPING, g).residual > 0.1


def test_a_budget_of_passes_draws_as_many_rows(curvature, g, generator):
    drawn = []

    def of_rows(rows, v):
        drawn.append(len(rows))
        return curvature.of_rows(rows, v)

    StochasticApproximation(generator, passes=8, batch_size=16)(Curvature(of_rows, D), DAMPING, g)
    assert sum(drawn) == 20 * 16 + 8 * len(D) + len(D)  # the power iteration, the steps, the residual


def test_progress_is_reported(curvature, g, generator):
    for solver, steps in ((ConjugateResiduals, 2), (lambda **budget: StochasticApproximation(generator, **budget), 2)):
        seen = []
        solver(passes=2, progress=lambda done, total, seen=seen: seen.append((done, total)))(curvature, DAMPING, g)
        assert seen == [(step + 1, steps) for step in range(steps)]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_raises(curvature, g, generator, bad):
    broken = Curvature(lambda rows, v: v * bad, D)
    for solver in (ConjugateResiduals(), StochasticApproximation(generator)):
        with pytest.raises(FloatingPointError, match="not finite"):
            solver(broken, DAMPING, g)
        with pytest.raises(FloatingPointError, match="not finite"):
            solver(curvature, DAMPING, g * bad)
    with pytest.raises(FloatingPointError, match="residual nan"):
        Solution(g, float("nan"))
