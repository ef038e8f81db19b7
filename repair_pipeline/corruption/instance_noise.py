"""Instance-dependent label noise: the mistakes of weak models (ours; the paper plants noise by class)."""

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
    """Gives round(rate × n) rows the label that a weak model mistakes them for.

    The training rows are split at random into as many parts as there are annotators. Each annotator is trained on one
    part, with true labels, and labels the next part, so no row is labelled by a model that has seen it. The rows to
    corrupt are drawn uniformly from those that their annotator gets wrong. If these are too few, all of them are
    corrupted, and then the rows of which their annotator is least sure, which get its second choice. Thus every
    corrupted row has a wrong label. The annotators do not depend on ``rate``.
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
        wrong = outputs.argmax(dim=1) != clean.labels
        confidence = outputs.double().softmax(dim=1).amax(dim=1)
        corrupted = torch.zeros(len(clean), dtype=torch.bool)
        counts = planted_counts(len(fit), len(validation), self.rate)
        for rows, count in zip((fit, validation), counts, strict=True):
            mistakes = torch.from_numpy(rng.permutation(rows[wrong[rows]].numpy()))
            others = rows[~wrong[rows]]
            unsure = others[confidence[others].argsort(stable=True)]
            corrupted[torch.cat([mistakes, unsure])[:count]] = True
        given = clean.labels.clone()
        given[corrupted] = wrong_answers(outputs[corrupted], clean.labels[corrupted])
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
    """The likeliest class other than the label: the prediction where that is wrong, else the second choice.

    Args:
        outputs: logits.
        labels: true class numbers.
    """
    return outputs.scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
