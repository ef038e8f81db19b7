"""Independent answers for small problems, dense and in float64: none of this calls the package's mathematics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.functional import hessian, jacobian

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Normal:
    """N(mean, covariance)."""

    mean: Array
    covariance: Array

    def given(self, x: Array, y: Array, noise: float) -> Normal:
        """Bayes' rule for y = xθ + noise · ε, by conditioning the joint Gaussian of θ and y: no precision is added."""
        cross = self.covariance @ x.T
        gain = cross @ np.linalg.inv(x @ cross + noise**2 * np.eye(len(y)))
        return Normal(self.mean + gain @ (y - x @ self.mean), self.covariance - gain @ cross.T)


def softmax_gradients(weight: Array, bias: Array, x: Array, labels: NDArray[np.int64]) -> Array:
    """∇ log p(y|x) of multinomial logistic regression, one row an example, by hand: (e_y − p) ⊗ (x, 1)."""
    exponentials = np.exp(x @ weight.T + bias)
    residual = np.eye(len(bias))[labels] - exponentials / exponentials.sum(axis=1, keepdims=True)
    return np.concatenate([(residual[:, :, None] * x[:, None, :]).reshape(len(x), -1), residual], axis=1)


def central_differences(f: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """The Jacobian of f at a point, one column a coordinate."""
    columns = [(f(at + step * unit) - f(at - step * unit)) / (2 * step) for unit in torch.eye(len(at), dtype=at.dtype)]
    return torch.stack(columns, dim=-1)


def gauss_newton(logits: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The mean over rows of Jᵀ (diag p − ppᵀ) J, with J the logits' Jacobian by finite differences."""
    jacobian, probabilities = central_differences(logits, at), logits(at).softmax(dim=1)
    spread = torch.diag_embed(probabilities) - probabilities[:, :, None] * probabilities[:, None, :]
    return torch.einsum("nki,nkl,nlj->ij", jacobian, spread, jacobian) / len(probabilities)


def auc(scores: Array, positive: NDArray[np.bool_]) -> float:
    """Mann and Whitney: the share of (positive, negative) pairs that are in order, ties counting half."""
    pairs = scores[positive][:, None] - scores[~positive][None, :]
    return float((pairs > 0).mean() + 0.5 * (pairs == 0).mean())


def average_precision(ranked: NDArray[np.bool_]) -> float:
    """The mean, over positives, of the precision down to each; ``ranked`` is best first and without ties."""
    return float(np.mean([ranked[: at + 1].mean() for at in np.flatnonzero(ranked)]))


@dataclass(frozen=True)
class Newton:
    """The exact argmax of an objective's expectation over examples drawn by weight: a Maximise without chance."""

    def __call__(self, objective: Callable[[Tensor, Tensor], Tensor], weights: Tensor, start: Tensor) -> Tensor:
        share = weights / weights.sum()

        def expected(theta: Tensor) -> Tensor:
            return sum((share[i] * objective(theta, torch.tensor([i])) for i in range(len(share))), torch.tensor(0.0))

        theta = start
        for _ in range(30):
            step = torch.linalg.solve(hessian(expected, theta), jacobian(expected, theta))
            theta = theta - step
            if step.norm() <= 1e-12 * (1 + theta.norm()):
                return theta
        raise AssertionError("Newton's method did not converge: the objective is not concave enough for this oracle")
