"""Adversarial poisoning (Sec. 4.1)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from repair_pipeline.corruption.planting import Planted, planted_by_class, require_classes
from repair_pipeline.types import Dataset, Examples

TrainVictim = Callable[[Examples, Examples, int], nn.Module]
"""(training rows, validation rows, which victim) → a model trained on them, in eval mode."""


@dataclass(frozen=True)
class Poison:
    """Adversarial images in place of round(rate × n_class) images of every class in ``classes``.

    They are made on victims, separate models trained on the clean rows, and labelled as their victim predicts. Where a
    victim is not fooled the label stays right, and the row counts as corrupted all the same.
    """

    rate: float
    classes: tuple[int, ...]
    epsilon: float
    """How far a pixel moves, pixels being in [0, 1]."""
    victims: int
    """Each makes as many of the images as the others, give or take one a class."""
    train_victim: TrainVictim

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        clean = data.train.in_memory()
        inputs, labels = clean.inputs.clone(), clean.labels.clone()
        require_classes("corruption.classes", self.classes, labels)
        corrupted = torch.zeros(len(labels), dtype=torch.bool)
        by_class = planted_by_class(data.train.labels, self.classes, self.rate, fit, validation, rng)
        planted = [torch.from_numpy(rows) for _, rows in by_class]
        train, stop_on = clean[fit], clean[validation]
        for which in range(self.victims):
            victim = self.train_victim(train, stop_on, which)
            at = torch.cat([rows[which :: self.victims] for rows in planted])
            inputs[at], labels[at] = fgsm(victim, clean[at], self.epsilon, data.mean)
            corrupted[at] = True
        return Planted(Examples(data.train.ids, inputs, labels), corrupted)


def fgsm(
    model: nn.Module, examples: Examples, epsilon: float, mean: Float[Tensor, " channels"], batch_size: int = 500
) -> tuple[Float[Tensor, "n *features"], Int64[Tensor, " n"]]:
    """x + ε sign(∇ₓ −log p(y|x)) (Goodfellow et al., 2015), pixels kept within [0, 1], and what ``model`` makes of it.

    Args:
        examples: images less ``mean``.
    """
    device = next(model.parameters()).device
    low = -mean[:, None, None].to(device)
    inputs, labels = [], []
    for batch in examples.to(device).batches(batch_size):
        images = batch.inputs.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(images), batch.labels), images)
        moved = (batch.inputs + epsilon * gradient.sign()).clamp(low, low + 1)
        with torch.no_grad():
            labels.append(model(moved).argmax(dim=1).cpu())
        inputs.append(moved.cpu())
    return torch.cat(inputs), torch.cat(labels)
