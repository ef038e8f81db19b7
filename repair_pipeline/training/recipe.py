"""The owner's recipe, given by fields: optimiser, learning rates, epochs, regularisation, augmentation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import ConfigDict, Field, PositiveInt, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LRScheduler, OneCycleLR

from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.likelihoods.reading import reading_of
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.models.copying import copied
from repair_pipeline.named_tensors import Batch, NamedTensors, tensors_of
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.training.protocol import Start, Training, seeded
from repair_pipeline.types import Examples, Progress, silent

Augment = Callable[[Any, torch.Generator], Any]
"""Changes a batch of inputs at random, with all randomness from the generator. Both are on the CPU.

The batch is a tensor, or a dict of tensors where a row has several; so is what it returns.
The inputs are of the type that the model reads: floats, even where a transform returned integers, or tokens."""
_Share = Annotated[float, Field(ge=0, lt=1)]
_Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UserRecipe:
    """The owner's recipe: a fixed number of epochs in train mode, whose last weights are returned."""

    epochs: PositiveInt
    optimiser: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: _Rate = 1e-3
    """The rate throughout, or the highest one of the schedule."""
    momentum: _Share = 0.0
    """Of ``sgd``."""
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    schedule: Literal["constant", "cosine", "one_cycle"] = "constant"
    """Of the learning rate, over all steps: ``cosine`` falls to 0, ``one_cycle`` is torch's, which changes Adam's β₁
    too; ``momentum`` stays as it is."""
    batch_size: PositiveInt = 64
    label_smoothing: _Share = 0.0
    augment: str | None = None
    """``package.module:function`` that changes a batch of inputs at random."""

    @model_validator(mode="after")
    def _momentum_is_of_sgd(self) -> UserRecipe:
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(f"momentum is a setting of sgd, not of {self.optimiser}: leave it out")
        return self

    def resolved(self, folder: Path) -> Training:
        """The recipe with its augmentation imported.

        Args:
            folder: searched for the module first.

        Raises:
            InputError: the augmentation cannot be imported.
        """
        return Recipe(self, entry_point("training.augment", self.augment, folder) if self.augment else None)

    def optimiser_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """A new optimiser of the model's parameters."""
        rate, decay = self.learning_rate, self.weight_decay
        match self.optimiser:
            case "adam":
                return torch.optim.Adam(model.parameters(), rate, weight_decay=decay)
            case "adamw":
                return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay)
            case "sgd":
                return torch.optim.SGD(model.parameters(), rate, self.momentum, weight_decay=decay)

    def scheduler_of(self, optimiser: torch.optim.Optimizer, steps: int) -> LRScheduler | None:
        """The scheduler of an optimiser that takes this many steps; None for a constant rate."""
        match self.schedule:
            case "constant":
                return None
            case "cosine":
                return CosineAnnealingLR(optimiser, steps)
            case "one_cycle":
                adam = self.optimiser != "sgd"
                return OneCycleLR(optimiser, self.learning_rate, total_steps=steps, cycle_momentum=adam)


@plain_dataclass(frozen=True)
class Recipe:
    """Trains by the fields of a recipe; a new model and a trained one alike, in train mode, as the owner does."""

    fields: UserRecipe
    augment: Augment | None = None

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
        """A trained copy of ``model``, in eval mode. ``validation`` and ``start`` make no difference to it.

        Args:
            model: what to start from, left unchanged.
            train: n training rows.
            validation: not read: the number of epochs is fixed.
            generator: draws batches and augmentation, and seeds the model's own randomness.
            start: not read.
            targets: as in ``Training.fit``.
            progress: called after each epoch.

        Raises:
            FloatingPointError: a parameter is not finite in the end.
            InputError: the model returns no tensor in train mode, or the augmentation fails.
        """
        fields, device = self.fields, next(model.parameters()).device
        model, likelihood = copied(model).train(), likelihood_of(model)
        optimiser = fields.optimiser_of(model)
        steps = fields.epochs * len(_batches(torch.arange(len(train)), fields.batch_size))
        scheduler = fields.scheduler_of(optimiser, steps)
        with seeded(generator):
            for epoch in range(fields.epochs):
                for chosen in _batches(torch.randperm(len(train), generator=generator), fields.batch_size):
                    batch = train[chosen]
                    inputs = batch.inputs.cpu()
                    if self.augment:
                        inputs = reading_of(model).converted(model, inputs)
                        inputs = _augmented(self.augment, str(fields.augment), inputs, generator)
                    optimiser.zero_grad()
                    outputs = require_tensor(model(inputs.to(device)), mode=" in train mode")
                    labels = batch.labels.to(device) if targets is None else targets[chosen].to(outputs)
                    likelihood.loss(outputs, labels, fields.label_smoothing).backward()
                    optimiser.step()
                    if scheduler:
                        scheduler.step()
                progress(epoch + 1, fields.epochs)
        if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
            raise FloatingPointError(
                f"training diverged: after {fields.epochs} epochs a parameter is not finite; use a learning rate "
                f"below {fields.learning_rate:g}"
            )
        return model.eval()


def _batches(order: Int64[Tensor, " n"], size: int) -> list[Int64[Tensor, " b"]]:
    """``order`` in batches of ``size``. A last row that would be alone, which batch normalisation refuses, is not."""
    batches = list(order.split(size))
    if size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _augmented(augment: Augment, name: str, inputs: Batch, generator: torch.Generator) -> Batch:
    """The inputs after augmentation, which must keep names, shapes and types.

    Raises:
        InputError: it fails, or does not.
    """
    given = tensors_of(inputs)
    try:
        changed = augment(dict(given) if isinstance(inputs, NamedTensors) else inputs, generator)
    except InputError:
        raise
    except Exception as error:
        shapes = " and ".join(str(tuple(tensor.shape)) for tensor in given.values())
        raise InputError(
            f"training.augment {name} fails ({type(error).__name__}: {one_line(error)}): it gets a batch of inputs of "
            f"shape {shapes} and a torch.Generator"
        ) from error
    if isinstance(inputs, NamedTensors):
        if not isinstance(changed, Mapping) or set(changed) != set(given):
            raise InputError(
                f"training.augment {name} returns a {type(changed).__name__}: return a dict of {', '.join(given)}"
            )
        return NamedTensors({key: _alike(name, changed[key], part) for key, part in given.items()})
    return _alike(name, changed, given[""])


def _alike(name: str, changed: Any, given: Tensor) -> Tensor:
    """What an augmentation returned for a tensor."""
    wanted = f"{given.dtype} of shape {tuple(given.shape)}"
    if not isinstance(changed, Tensor):
        raise InputError(f"training.augment {name} returns a {type(changed).__name__}: return a tensor, {wanted}")
    if (changed.shape, changed.dtype) != (given.shape, given.dtype):
        raise InputError(
            f"training.augment {name} returns {changed.dtype} of shape {tuple(changed.shape)}: return {wanted}"
        )
    if not bool(changed.isfinite().all()):
        raise InputError(f"training.augment {name} returns values that are not finite: mend it")
    return changed
