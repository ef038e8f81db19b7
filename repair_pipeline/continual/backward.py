"""Reverse-mode gradients by ``backward``, for any trainable model."""

from __future__ import annotations

import torch
from torch import Tensor

from repair_pipeline.types import Theta


def gradient(value: Tensor, at: Theta, weights: Tensor | None = None) -> Theta:
    """∇(weightsᵀ value) with respect to the leaf ``at``; 0 if the value does not depend on it.

    Uses ``backward``, because torch's reentrant checkpoints do not support ``torch.autograd.grad``.

    Args:
        value: computed from ``at``.
        at: a leaf that requires a gradient; its ``.grad`` is cleared.
        weights: one per entry of ``value``; None if ``value`` is a scalar.

    Raises:
        RuntimeError: the value depends on nothing that requires a gradient.
    """
    at.grad = None
    value.backward(weights)
    slope, at.grad = at.grad, None
    return torch.zeros_like(at) if slope is None else slope
