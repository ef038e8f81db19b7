"""Random input noise (Sec. 4.1)."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from repair_pipeline.corruption.planting import Planted, planted_by_class, require_classes, require_floats
from repair_pipeline.types import Dataset, Examples


@dataclass(frozen=True)
class InputNoise:
    """Noise in round(rate × n_class) images of every class in ``classes``; their labels stay right."""

    rate: float
    classes: tuple[int, ...]
    noise: Literal["salt_and_pepper", "gaussian"]
    level: float
    """``salt_and_pepper``: the expected share of pixels (all channels together) that become black or white, half each.
    ``gaussian``: the standard deviation σ for pixels in [0, 1]; values outside are clipped."""

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        inputs, labels = data.train.tensor.clone(), data.train.labels
        require_floats("corruption", inputs)
        require_classes("corruption.classes", self.classes, labels)
        corrupted = torch.zeros(len(labels), dtype=torch.bool)
        mean = data.mean[:, None, None]
        for _, rows in planted_by_class(labels, self.classes, self.rate, fit, validation, rng):
            at = torch.from_numpy(rows)
            inputs[at] = self._noisy(inputs[at] + mean, rng) - mean
            corrupted[at] = True
        return Planted(Examples(data.train.ids, inputs, labels), corrupted)

    def _noisy(self, images: Tensor, rng: np.random.Generator) -> Tensor:
        if self.noise == "gaussian":
            return (images + self.level * torch.from_numpy(rng.standard_normal(images.shape)).to(images)).clamp(0, 1)
        drawn = torch.from_numpy(rng.random((len(images), 1, *images.shape[2:]))).to(images)
        salted = torch.where(drawn < self.level, 1.0, images)
        return torch.where(drawn < self.level / 2, 0.0, salted)
