"""Adversarial poisoning (Sec. 4.1)."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from repair_pipeline.corruption.planting import Planted, planted_by_class, require_classes, require_floats
from repair_pipeline.types import Dataset, Examples

TrainVictim = Callable[[Examples, Examples, int], nn.Module]
"""(training rows, validation rows, victim number) → a model trained on them, in eval mode."""


@dataclass(frozen=True)
class Poison:
    """Replaces round(rate × n_class) images of every class in ``classes`` by adversarial ones.

    They are generated against victims, separate models trained on the clean rows, and take the label that their victim
    predicts. If the victim is not fooled, the label stays right, but the row counts as corrupted.
    """

    rate: float
    classes: tuple[int, ...]
    epsilon: float
    """The change of a pixel, for pixels in [0, 1]."""
    victims: int
    """Number of victims; each generates the same number of images, to within one per class."""
    train_victim: TrainVictim

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        clean = data.train.in_memory()
        inputs, labels = clean.tensor.clone(), clean.labels.clone()
        require_floats("corruption", inputs)
        require_classes("corruption.classes", self.classes, labels)
        corrupted = torch.zeros(len(labels), dtype=torch.bool)
        by_class = planted_by_class(data.train.labels, self.classes, self.rate, fit, validation, rng)
        planted = [torch.from_numpy(rows) for _, rows in by_class]
        for number in range(self.victims):
            victim = self.train_victim(clean[fit], clean[validation], number)
            at = torch.cat([rows[number :: self.victims] for rows in planted])
            inputs[at], labels[at] = fgsm(victim, clean[at], self.epsilon, data.mean)
            corrupted[at] = True
        return Planted(Examples(data.train.ids, inputs, labels), corrupted)


def fgsm(
    model: nn.Module, examples: Examples, epsilon: float, mean: Float[Tensor, " channels"], batch_size: int = 500
) -> tuple[Float[Tensor, "n *features"], Int64[Tensor, " n"]]:
    """The fast gradient sign method: x + ε sign(∇ₓ −log p(y|x)) (Goodfellow et al., 2015), clipped to [0, 1].

    Args:
        model: the attacked model, in eval mode.
        examples: images minus ``mean``.
        epsilon: ε, for pixels in [0, 1].
        mean: per channel.
        batch_size: images per gradient.

    Returns:
        The adversarial inputs, minus ``mean``, and the classes that ``model`` predicts for them; on the CPU.
    """
    device = next(model.parameters()).device
    low = -mean[:, None, None].to(device)
    inputs, labels = [], []
    for batch in examples.to(device).batches(batch_size):
        images = batch.tensor.detach().clone().requires_grad_(True)
        (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(model(images), batch.labels), images)
        adversarial = (batch.tensor + epsilon * gradient.sign()).clamp(low, low + 1)
        with torch.no_grad():
            labels.append(model(adversarial).argmax(dim=1).cpu())
        inputs.append(adversarial.cpu())
    return torch.cat(inputs), torch.cat(labels)
