"""Builds the data set, corruption, model and training that a spec names."""

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from repair_pipeline.cases.corruption import (
    ImbalanceSpec,
    InputNoiseSpec,
    InstanceNoiseSpec,
    LabelNoiseSpec,
    PoisonSpec,
)
from repair_pipeline.cases.sources import KnownData, KnownModel, UserModel
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.corruption.imbalance import Imbalance
from repair_pipeline.corruption.input_noise import InputNoise
from repair_pipeline.corruption.instance_noise import InstanceNoise
from repair_pipeline.corruption.label_noise import LabelNoise
from repair_pipeline.corruption.planting import Corruption
from repair_pipeline.corruption.poison import Poison
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.datasets.user_data import TorchvisionData, UserData, read, read_torchvision
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.reading import with_logits
from repair_pipeline.models.cnn import cnn, cnn8, cnn_compact
from repair_pipeline.models.mlp import mlp
from repair_pipeline.models.pretrained import pretrained_model
from repair_pipeline.models.resnet import resnet
from repair_pipeline.models.user_model import torchvision_model, user_model
from repair_pipeline.training.fit import Schedule, logits
from repair_pipeline.training.protocol import Training, seeded
from repair_pipeline.types import Dataset, Examples


def load_dataset(spec: CaseSpec, data_dir: Path, rng: np.random.Generator) -> Dataset:
    """The case's data set, before any corruption.

    Args:
        spec: the case.
        data_dir: where the catalogue's and torchvision's data sets are stored.
        rng: draws the training rows of a catalogue's data set.

    Raises:
        InputError: the data set is not available or cannot be used.
    """
    match spec.dataset:
        case UserData():
            return read(spec.dataset, spec.root, spec.task.form)
        case TorchvisionData():
            return read_torchvision(spec.dataset, data_dir, spec.root)
        case KnownData(name, train_size):
            return DATASETS[name].read(train_size, rng, data_dir)


def build_corruption(spec: CaseSpec, classes: int, device: torch.device) -> Corruption | Imbalance | None:
    """The corruption to plant, or the imbalance to make; None if the case has neither."""
    match spec.corruption:
        case LabelNoiseSpec(rate, confusion):
            return LabelNoise(rate, confusion)
        case InputNoiseSpec(rate, targets, noise, level):
            return InputNoise(rate, targets, noise, level)
        case PoisonSpec(rate, targets, epsilon, victims):
            return Poison(rate, targets, epsilon, victims, partial(_victim, spec, classes, device))
        case InstanceNoiseSpec(rate, annotators):
            return InstanceNoise(rate, annotators, partial(_annotated, spec, classes, device))
        case ImbalanceSpec(keep, targets):
            return Imbalance(keep, targets)
        case None:
            return None


def _victim(
    spec: CaseSpec, classes: int, device: torch.device, train: Examples, validation: Examples, which: int
) -> nn.Module:
    generator = torch_stream(spec.seed, f"victim-{which}")
    untrained = build_model(spec, train, classes, device, generator)
    return build_training(spec).fit(untrained, train, validation, generator, start="new")


def build_training(spec: CaseSpec) -> Training:
    """How the case's models are trained.

    Raises:
        InputError: the owner's function or augmentation cannot be imported.
    """
    return spec.training if isinstance(spec.training, Schedule) else spec.training.resolved(spec.root)


_ANNOTATORS = Schedule(max_epochs=12, patience=12)
"""Short, so that annotators stay weak (docs/cases.md has their accuracy), and the same whatever ``training`` is."""


def _annotated(
    spec: CaseSpec, classes: int, device: torch.device, train: Examples, rows: Examples, which: int
) -> Tensor:
    generator = torch_stream(spec.seed, f"annotator-{which}")
    untrained = build_model(spec, train, classes, device, generator)
    return logits(_ANNOTATORS.fit(untrained, train, train, generator, start="new"), rows)


def build_model(
    spec: CaseSpec,
    like: Examples,
    classes: int,
    device: torch.device,
    generator: torch.Generator,
    likelihood: Likelihood | None = None,
) -> nn.Module:
    """A newly initialised model of the case, which reads the case's inputs and returns logits.

    Args:
        spec: the case.
        like: examples of the model's inputs.
        classes: number of classes; 0 for a regression, whose models have one output.
        device: where the model is put.
        generator: seeds the initial weights.
        likelihood: of the outputs; None: the case's, before anything is learnt of it from a model.

    Raises:
        InputError: the model has no parameters, or needs conversions that it does not support.
    """
    with seeded(generator):
        model = _architecture(spec, like, classes or 1).to(device)
        return with_logits(model, like[:3].inputs, classes, likelihood or spec.task)


def _architecture(spec: CaseSpec, like: Examples, classes: int) -> nn.Module:
    model, channels = spec.model, like.shape[0] if like.shape else 0
    match model:
        case KnownModel("cnn"):
            return cnn(channels, classes)
        case KnownModel("cnn8"):
            return cnn8(channels, classes)
        case KnownModel("cnn_compact"):
            return cnn_compact(channels, classes)
        case KnownModel("mlp"):
            return mlp(like.shape.numel(), classes)
        case KnownModel("resnet18"):
            return resnet(18, channels, classes)
        case KnownModel("resnet50"):
            return resnet(50, channels, classes)
        case UserModel(factory=str(factory)):
            return user_model(factory, model.arguments, spec.root)
        case UserModel(torchvision=str(name)):
            return torchvision_model(name, classes, model.arguments)
        case UserModel(transformers=str(folder)):
            return pretrained_model(spec.root / folder, classes, model.arguments, model.lora, spec.task.form)
        case _:
            raise InputError(
                f"model: {model.title} has no architecture in the registry: give model.factory as well as weights"
            )
