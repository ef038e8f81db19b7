"""The benchmarks: dattri's MNIST with logistic regression and with a multilayer perceptron (Deng et al. 2024)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.datasets.mnist import mnist
from repair_pipeline.training.protocol import seeded
from repair_pipeline.training.recipe import Recipe, UserRecipe
from repair_pipeline.types import Examples

_DEVIATION = 0.3081
"""The standard deviation of MNIST's pixels, by which inputs are divided."""
_IMAGES = 60_000
FLIPPED = 0.1
"""The share of labels that are replaced by another, each class as likely, where detection is measured."""


@dataclass(frozen=True)
class Early:
    """Trainings on all of D that stop before rows are memorised, each with its own seed."""

    epochs: int
    damping: float
    """δ for these models, chosen as ``Benchmark.damping``."""


@dataclass(frozen=True)
class Benchmark:
    """A model, its recipe, and the numbers of retrainings: MNIST's first rows in training and test order."""

    name: str
    model: Callable[[], nn.Module]
    recipe: UserRecipe
    """The loss is the cross-entropy; batches are drawn anew in every epoch."""
    damping: float
    """δ of every curvature, for a mean over D. Chosen as dattri chooses it, the best of a few by the LDS."""
    early: Early | None = None
    """Models that were stopped early, where the recipe lets the model memorise its rows."""
    pairs_exactly: bool = True
    """Whether every query is solved with the exact curvature: 500 linear systems, minutes for a linear model."""
    fit: int = 5000
    queries: int = 500
    halves: int = 100
    """Trainings on random halves of D, each with its own seed."""
    removals: int = 5
    """Trainings without the rows that a method removes, and as many without random rows."""
    seconds: float = 1.0
    """The expected duration of a training on all of D, on one core."""

    def rows(self, folder: Path) -> tuple[Examples, Examples]:
        """D and the queries.

        Args:
            folder: as for ``mnist``.
        """
        data = mnist(_IMAGES, np.random.default_rng(0), folder)
        fit, queries = data.train[: self.fit], data.test[: self.queries]
        return tuple(Examples(rows.ids, rows.tensor / _DEVIATION, rows.labels) for rows in (fit, queries))  # type: ignore[return-value]  # two

    def flipped(self, fit: Examples) -> Examples:
        """D with a share ``FLIPPED`` of its labels replaced."""
        rng = numpy_stream(0, f"attribution/{self.name}/flips")
        wrong = torch.from_numpy(rng.choice(len(fit), round(FLIPPED * len(fit)), replace=False))
        labels = fit.labels.clone()
        classes = int(labels.max()) + 1
        labels[wrong] = (labels[wrong] + torch.from_numpy(rng.integers(1, classes, len(wrong)))) % classes
        return replace(fit, labels=labels)

    def untrained(self, generator: torch.Generator) -> nn.Module:
        """A newly initialised model."""
        with seeded(generator):
            return self.model()

    def trained(self, rows: Examples, stream: str, epochs: int | None = None) -> nn.Module:
        """A model trained on ``rows``, for as many epochs as the recipe says if None; ``stream`` names its seed."""
        generator = torch_stream(0, f"attribution/{self.name}/{stream}")
        recipe = replace(self.recipe, epochs=epochs or self.recipe.epochs)
        return Recipe(recipe).fit(self.untrained(generator), rows, rows[:0], generator, start="new")


def _logistic_regression() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def _perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 128),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 10),
    )


_LOGISTIC = UserRecipe(epochs=20, optimiser="sgd", learning_rate=0.01, batch_size=32)
_PERCEPTRON = UserRecipe(epochs=50, optimiser="sgd", learning_rate=0.01, momentum=0.9, batch_size=64)
BENCHMARKS: Mapping[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        Benchmark("mnist-lr", _logistic_regression, _LOGISTIC, damping=0.06, seconds=4.0),
        Benchmark(
            "mnist-mlp",
            _perceptron,
            _PERCEPTRON,
            damping=4e-5,
            early=Early(epochs=4, damping=2e-4),
            pairs_exactly=False,
            halves=60,
            removals=3,
            seconds=15.0,
        ),
    )
}
