"""What trains a model: App. C's scheme, the owner's recipe, or her own function."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.types import Examples, Progress, silent

Start = Literal["new", "trained"]
"""Whether the given model is untrained, or trained already and to be trained further."""


@runtime_checkable
class Training(Protocol):
    """Trains a classifier. Base model, retraining, fine-tuning, controls and victims of a case all use the same one."""

    def fit(
        self,
        model: nn.Module,
        train: Examples,
        validation: Examples,
        generator: torch.Generator,
        *,
        start: Start,
        targets: Float[Tensor, "n *k"] | None = None,
        progress: Progress = silent,
    ) -> nn.Module:
        """A trained copy of ``model``, in eval mode and on its device.

        Args:
            model: what to start from, left unchanged.
            train: n training rows.
            validation: rows that may be used for early stopping, but not trained on.
            generator: the only source of randomness: it draws batches and augmentation, and seeds the model's own.
            start: whether ``model`` is new or trained already.
            targets: instead of the labels of ``train``, a distribution over the k classes for each of its rows, times
                the weight of the row, as ``nn.functional.cross_entropy`` takes them.
            progress: called with (done, total) as training advances.

        Raises:
            FloatingPointError: training diverged.
            InputError: the model cannot be trained so; the message says why and what to do.
        """


@contextmanager
def seeded(generator: torch.Generator) -> Iterator[None]:
    """Within it, torch's global streams, which dropout and new weights draw from, are seeded by ``generator``."""
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield
