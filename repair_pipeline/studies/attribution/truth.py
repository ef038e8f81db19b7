"""What retraining says: log p of the queries by models trained on other rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float64, Int64
from numpy.typing import NDArray
from torch import nn

from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.storage.files import read_tensors, write_tensors
from repair_pipeline.studies.attribution.benchmark import Benchmark
from repair_pipeline.types import Examples


def half(benchmark: Benchmark, number: int) -> Int64[np.ndarray, " h"]:
    """The positions of the rows of a random half of D."""
    rng = numpy_stream(0, f"attribution/{benchmark.name}/half-{number}")
    return np.sort(rng.choice(benchmark.fit, benchmark.fit // 2, replace=False))


def random_rows(benchmark: Benchmark, count: int, number: int) -> NDArray[np.int64]:
    """The positions of ``count`` random rows, for the control of a removal."""
    return numpy_stream(0, f"attribution/{benchmark.name}/random-{count}-{number}").choice(
        benchmark.fit, count, replace=False
    )


def log_p(model: nn.Module, queries: Examples) -> Float64[torch.Tensor, " m"]:
    """log p of every query, in nats."""
    classifier = Classifier(model)
    return log_likelihoods(classifier, classifier.theta_hat, queries)


def retrain_on_halves(benchmark: Benchmark, numbers: range, path: Path, data_dir: Path) -> list[str]:
    """Train on some of the random halves, and store log p of the queries, a row for each half."""
    with threads(1):
        fit, queries = benchmark.rows(data_dir)
        values = []
        for number in numbers:
            rows = fit[torch.from_numpy(half(benchmark, number))]
            values.append(log_p(benchmark.trained(rows, f"half-{number}"), queries))
        write_tensors(path, {"log_p": torch.stack(values)}, {"first": numbers.start})
    return []


def train_checkpoint(
    benchmark: Benchmark, number: int, flipped: bool, epochs: int | None, path: Path, data_dir: Path
) -> list[str]:
    """Train on all of D, and store the weights."""
    with threads(1):
        fit, _ = benchmark.rows(data_dir)
        rows = benchmark.flipped(fit) if flipped else fit
        model = benchmark.trained(rows, f"checkpoint-{number}", epochs)
        write_tensors(path, model.state_dict(), {"flipped": flipped})
    return []


def read_checkpoint(benchmark: Benchmark, path: Path) -> nn.Module:
    """The model that ``train_checkpoint`` stored, in eval mode."""
    model = benchmark.model()
    model.load_state_dict(read_tensors(path)[0])
    return model.eval()
