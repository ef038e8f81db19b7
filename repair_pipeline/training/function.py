"""The owner's own training function."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass as plain_dataclass
from dataclasses import field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from pydantic import ConfigDict, Field, JsonValue
from pydantic.dataclasses import dataclass
from torch import Tensor, nn
from torch.utils.data import Dataset

from repair_pipeline.entry_point import entry_point
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.models.copying import copied
from repair_pipeline.models.user_model import load_weights
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.training.protocol import Start, Training, seeded
from repair_pipeline.types import Examples, Progress, silent

Row = Tensor | dict[str, Tensor]
"""The input of one example."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class UserTraining:
    """The owner's function that trains a model."""

    function: str
    """``package.module:function``, called as ``TrainingFunction`` says."""
    arguments: dict[str, JsonValue] = Field(default_factory=dict)

    def resolved(self, folder: Path) -> Training:
        """The function, imported.

        Args:
            folder: searched for the module first.

        Raises:
            InputError: it cannot be imported.
        """
        function = entry_point("training.function", self.function, folder)
        return TrainingFunction(function, self.function, self.arguments)


class Rows(Dataset[tuple[Row, Tensor]]):
    """Examples as a torch data set of (x, y), read on access.

    Args:
        examples: n rows.
        targets: y of each row, in place of its label: of classes a distribution over them times the row's weight.
    """

    def __init__(self, examples: Examples, targets: Float[Tensor, "n *k"] | None = None) -> None:
        self._examples = examples
        labels = examples.labels
        # Numbers as her own data sets have them: float64 labels would not go with the outputs of a float32 model.
        numbers = labels.float() if labels.is_floating_point() or labels.dtype == torch.bool else labels.long()
        self._targets = numbers if targets is None else targets

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, at: int) -> tuple[Row, Tensor]:
        return self.__getitems__([at])[0]

    def __getitems__(self, at: Sequence[int]) -> list[tuple[Row, Tensor]]:
        """The rows of a batch, read together; a ``DataLoader`` asks for them so."""
        rows = torch.as_tensor(at)
        inputs = self._examples[rows].inputs
        each = inputs.rows() if isinstance(inputs, NamedTensors) else inputs
        return list(zip(each, self._targets[rows], strict=True))


@plain_dataclass(frozen=True)
class TrainingFunction:
    """Trains by the owner's function, called in this way::

        train(model, train, validation, *, seed, device, progress, **arguments) -> nn.Module

    ``model`` is a copy, new or trained already, on ``device`` and in train mode; it may be changed and returned.
    ``train`` and ``validation`` are map-style torch data sets of (x, y): x on the CPU, a tensor or a dict of tensors
    that the model takes in batches as it is; y a class number, or for
    ``train`` also a distribution over the classes times the row's weight. ``F.cross_entropy`` takes a batch of either.
    Of a regression y is a number, float32, and the model returns what its owner's returns.
    ``seed``, below 2³¹, is for what draws from other streams than torch's global one, which is seeded already.
    ``progress`` is called with (done, total). It returns the trained model, or another of the same architecture.
    """

    function: Callable[..., nn.Module]
    name: str
    """The function's name, for messages."""
    arguments: Mapping[str, Any] = field(default_factory=dict)

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
        """A copy of ``model`` with the weights of the model that the function returns, in eval mode.

        Args:
            model: what to start from, left unchanged.
            train: n training rows.
            validation: rows that the function may stop early by.
            generator: gives the seed, and seeds torch's global streams meanwhile.
            start: not read: the function trains a new model and a trained one alike.
            targets: as in ``Training.fit``.
            progress: passed on.

        Raises:
            InputError: the function fails, or returns no model of this architecture with finite weights.
        """
        seed = int(torch.randint(2**31, (), generator=generator))
        given, device = copied(model).train(), next(model.parameters()).device
        rows, kept = Rows(train, targets), Rows(validation)
        with seeded(generator):
            try:
                trained = self.function(
                    given, rows, kept, seed=seed, device=device, progress=progress, **self.arguments
                )
            except InputError:
                raise
            except Exception as error:
                raise InputError(
                    f"training.function {self.name} fails ({type(error).__name__}: {one_line(error)}): fix it; it is "
                    "called as train(model, train, validation, *, seed, device, progress, **arguments)"
                ) from error
        if not isinstance(trained, nn.Module):
            raise InputError(
                f"training.function {self.name} returns a {type(trained).__name__}: return the trained torch.nn.Module"
            )
        weights = trained.state_dict()
        # Into a copy of the model, which has the case's likelihood, frozen parameters and device.
        result = copied(model)
        load_weights(result, weights, f"the model that training.function {self.name} returns")
        if unusable := [name for name, tensor in result.state_dict().items() if not bool(tensor.isfinite().all())]:
            raise InputError(
                f"training.function {self.name} returns a model whose {unusable[0]!r} is not finite: lower its "
                "learning rate, or mend it"
            )
        return result.eval()
