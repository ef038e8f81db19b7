"""Test rows whose label is probably wrong, by models that did not learn it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

SURE = 0.8
"""The probability of being wrong from which a label is called doubtful."""


def wrong_label_probability(
    log_p: Float64[Tensor, "n k"], given: Int64[Tensor, " n"]
) -> tuple[Float64[Tensor, " n"], float]:
    """P(the given label is wrong) of each row, by one model's predictions.

    The given label g is the true one with probability 1 − π, and otherwise any other of the k classes alike. So it has
    p(g|x) = (1 − π) p_T(g|x) + π (1 − p_T(g|x)) / (k − 1), with p_T the model's prediction at the temperature T
    (Guo et al. 2017). T and π are those of highest likelihood. A model that is surer than it is right gets a higher
    T, which all rows decide; π rises only if more labels are contradicted than T explains.

    Args:
        log_p: log p(y|x) by a model that was not trained on the labels ``given``.
        given: the labels in question.

    Returns:
        The posterior probability that each label is wrong, and π.
    """
    classes = log_p.shape[1]

    def parts(at: NDArray[np.float64]) -> tuple[Tensor, Tensor]:
        """log of the joint probability of the label and of its being right, and the same for wrong."""
        temperature, odds = np.exp(at[0]), torch.tensor(at[1], dtype=torch.float64)
        scaled = (log_p / temperature).log_softmax(dim=1)
        right = scaled.gather(1, given[:, None]).flatten()
        others = scaled.scatter(1, given[:, None], -torch.inf).logsumexp(dim=1)
        log_share, log_rest = torch.nn.functional.logsigmoid(odds), torch.nn.functional.logsigmoid(-odds)
        return log_rest + right, log_share + others - np.log(classes - 1)

    def cost(at: NDArray[np.float64]) -> float:
        return -torch.logaddexp(*parts(at)).mean().item()

    start = np.array([[0.0, -4.0], [1.0, -4.0], [0.0, -2.0]])
    near = {"initial_simplex": start, "xatol": 1e-6, "fatol": 1e-12}
    best = minimize(cost, start[0], method="Nelder-Mead", bounds=((-3, 5), (-12, 0)), options=near)
    right, wrong = parts(best.x)
    return (wrong - torch.logaddexp(right, wrong)).exp(), float(1 / (1 + np.exp(-best.x[1])))


def doubtful_labels(
    panel: Sequence[Float64[Tensor, "n k"]], given: Int64[Tensor, " n"]
) -> tuple[Float64[Tensor, " n"], Int64[Tensor, " n"]]:
    """P(the given label is wrong), where all models say the same other label; 0 elsewhere.

    What one model says against a label may be its own mistake, so each must agree. How sure they are together is read
    off the mean of log p: a weak model, which is never sure, then hides no doubt of the others.

    Args:
        panel: log p(y|x) by each model.
        given: the labels in question.

    Returns:
        The probability, and the label that the first model says.
    """
    says = torch.stack([log_p.argmax(dim=1) for log_p in panel])
    agree = (says == says[0]).all(dim=0) & (says[0] != given)
    together = torch.stack(list(panel)).mean(dim=0).log_softmax(dim=1)
    probability, _ = wrong_label_probability(together, given)
    return probability.where(agree, torch.zeros_like(probability)), says[0]
