"""Instance-dependent label noise: labels drawn from weak models (ours; the paper plants noise by class)."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from repair_pipeline.corruption.planting import Planted, planted_counts
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples

Annotate = Callable[[Examples, Examples, int], Float[Tensor, "n k"]]
"""(training rows, n other rows, annotator number) → logits for the others by a weak model trained on the first."""


@dataclass(frozen=True)
class InstanceNoise:
    """Gives round(rate × n) rows a wrong label, drawn from what a weak model thinks of the row.

    The training rows are split at random into as many parts as there are annotators. Each annotator is trained on one
    part, with true labels, and labels the next part, so no row is labelled by a model that has seen it. The rows to
    corrupt are drawn with weights 1 − p(true label), and a wrong label with its annotator's p(label), as if people of
    that skill had labelled the rows: hard rows are wrong more often, and with the classes that they resemble. The
    annotators do not depend on ``rate``, and the wrong fit rows at a low rate are among those at a higher one.
    """

    rate: float
    annotators: int
    annotate: Annotate

    def plant(self, data: Dataset, fit: Tensor, validation: Tensor, rng: np.random.Generator) -> Planted:
        clean = data.train.in_memory()
        if self.annotators > len(clean):
            raise InputError(
                f"corruption.annotators is {self.annotators}, but there are {len(clean)} training rows: give fewer"
            )
        outputs = self.annotated(clean, rng)
        probabilities = outputs.double().softmax(dim=1)
        doubt = 1 - probabilities.gather(1, clean.labels[:, None]).flatten()
        # Sampling without replacement by weight: the smallest of exponential variables with these rates.
        keys = torch.from_numpy(rng.exponential(size=len(clean))) / doubt.clamp_min(torch.finfo(torch.float64).tiny)
        given = wrong_answers(outputs.double() + torch.from_numpy(rng.gumbel(size=outputs.shape)), clean.labels)
        corrupted = torch.zeros(len(clean), dtype=torch.bool)
        counts = planted_counts(len(fit), len(validation), self.rate)
        for rows, count in zip((fit, validation), counts, strict=True):
            corrupted[rows[keys[rows].argsort(stable=True)[:count]]] = True
        given = given.where(corrupted, clean.labels)
        return Planted(replace(data.train, labels=given), corrupted)

    def annotated(self, clean: Examples, rng: np.random.Generator) -> Float[Tensor, "n k"]:
        """The outputs of each row's annotator."""
        order = torch.from_numpy(rng.permutation(len(clean)))
        parts = [part.sort().values for part in order.tensor_split(self.annotators)]
        labelled = [*parts[1:], parts[0]]
        pairs = enumerate(zip(parts, labelled, strict=True))
        answered = [self.annotate(clean[part], clean[rows], number) for number, (part, rows) in pairs]
        return torch.cat(answered)[torch.cat(labelled).argsort()]


def wrong_answers(outputs: Float[Tensor, "n k"], labels: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The class with the highest output other than the label.

    Args:
        outputs: logits; with Gumbel noise added, the class is drawn from the softmax over the other classes.
        labels: true class numbers.
    """
    return outputs.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
