"""Ordinary reverse-mode gradients, of any model that can be trained."""

from __future__ import annotations

import torch
from torch import Tensor

from repair_pipeline.types import Theta


def gradient(value: Tensor, at: Theta, weights: Tensor | None = None) -> Theta:
    """∇(weightsᵀ value) at a leaf that requires a gradient; 0 where the value does not depend on it.

    By ``backward``, as torch's reentrant checkpoints refuse ``torch.autograd.grad``.

    Args:
        weights: of the value's entries; None where it is a single number.

    Raises:
        RuntimeError: the value depends on nothing that requires a gradient.
    """
    at.grad = None
    value.backward(weights)
    slope, at.grad = at.grad, None
    return torch.zeros_like(at) if slope is None else slope
