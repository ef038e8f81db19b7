"""From a spec to the things it names."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.digits import digits
from repair_pipeline.datasets.mnist import mnist
from repair_pipeline.models.cnn import cnn
from repair_pipeline.types import CorruptedDataset, Dataset


def load_dataset(spec: CaseSpec, data_dir: Path, rng: np.random.Generator) -> Dataset:
    """The case's data set as found.

    Raises:
        InputError: it cannot be had, or it cannot be used.
    """
    match spec.dataset.name:
        case "digits":
            return digits(spec.dataset.train_size, rng)
        case "mnist":
            return mnist(spec.dataset.train_size, rng, data_dir)


def build_model(spec: CaseSpec, data: CorruptedDataset, device: torch.device, generator: torch.Generator) -> nn.Module:
    """A newly initialised model of the case, fitting the data's channels and classes."""
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        match spec.model.name:
            case "cnn":
                return cnn(data.fit.examples.inputs.shape[1], len(data.classes)).to(device)
