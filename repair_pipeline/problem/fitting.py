"""Whether a model fits the data: what it reads, what it returns, and whether that can be differentiated."""

from __future__ import annotations

import re

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.datasets.labels import shown
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.models.copying import copied
from repair_pipeline.models.user_model import Adapted, freeze
from repair_pipeline.training.fit import logits
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.types import Examples

_SAMPLE = 256
"""Rows by which probabilities are told from logits."""


def require_fitting(
    model: nn.Module,
    rows: Examples,
    classes: tuple[str, ...],
    features: tuple[str, ...] = (),
    adapted: Adapted = "all",
) -> None:
    """Refuse a model that cannot read the rows, gives other outputs than a logit a class, or has no gradients.

    Args:
        features: the names of the feature columns in use, in their order, where there are any.
        adapted: which parameters the gradients are taken by.

    Raises:
        InputError: says which.
    """
    require_readable(model, rows[:2], classes, features)
    require_logits(model, rows)
    require_differentiable(freeze(copied(model), adapted), rows[:2])


def require_readable(
    model: nn.Module, rows: Examples, classes: tuple[str, ...], features: tuple[str, ...] = ()
) -> Float[Tensor, "n k"]:
    """The outputs of these rows, a logit a class.

    Args:
        features: the names of the feature columns in use, in their order.

    Raises:
        InputError: the model cannot read the rows, or returns something else.
    """
    inputs = rows.inputs.to(next(model.parameters()).device)
    model.eval()
    try:
        with torch.no_grad():
            returned = model(inputs)
    except Exception as error:
        raise InputError(_why_unread(model, inputs, error, features)) from error
    outputs = require_tensor(returned, len(classes))
    if outputs.shape != torch.Size([len(rows), len(classes)]):
        due = f"({len(rows)}, {len(classes)}) is due, a logit for each of the classes {shown(classes, 10)}"
        move = "set model.arguments or dataset.classes"
        if len(classes) == 2 and outputs.numel() == len(rows):
            both = "torch.stack([0 * z, z], 1)" if outputs.dim() == 1 else "torch.cat([0 * z, z], 1)"
            move = f"a sigmoid's single logit z stands for two classes: return {both}"
        raise InputError(f"the model gives outputs of shape {tuple(outputs.shape)} for {len(rows)} rows, {due}: {move}")
    return outputs.cpu()


def require_logits(model: nn.Module, rows: Examples) -> None:
    """Refuse probabilities: their softmax makes every label nearly as likely as any other.

    Raises:
        InputError: no output of the rows is negative, and each row's sum is 1.
    """
    # Two rows first: of most models they say it all.
    if all(_are_probabilities(logits(model, rows[:count])) for count in (2, _SAMPLE)):
        raise InputError(
            "the model's outputs are probabilities (none is below 0, each row's sum is 1) where logits are due: "
            "end the model before its Softmax, or return log-probabilities"
        )


def _are_probabilities(outputs: Float[Tensor, "n k"]) -> bool:
    finite = outputs[outputs.isfinite().all(dim=1)].double()
    return len(finite) > 0 and bool((finite >= 0).all()) and bool(((finite.sum(dim=1) - 1).abs() < 1e-3).all())


def require_differentiable(model: nn.Module, rows: Examples) -> None:
    """Refuse a model of which no row's gradient can be had, neither of a batch's rows at once nor of a row alone.

    Raises:
        InputError: says why, in the words of the row alone.
    """
    classifier = Classifier(model)
    try:
        classifier.gradients(classifier.theta_hat, rows.to(classifier.theta_hat.device))
    except Exception as error:
        raise InputError(
            f"the gradient of a single row cannot be had from the model ({one_line(error)}): "
            "let it read a batch of one row, and compute by operations that torch differentiates"
        ) from error


def _why_unread(model: nn.Module, inputs: Tensor, error: Exception, features: tuple[str, ...]) -> str:
    """What is wrong, and the next move."""
    shape = tuple(inputs.shape[1:])
    other = {p.dtype for p in model.parameters() if p.dtype.is_floating_point and p.dtype != inputs.dtype}
    if other:
        kind = str(min(other, key=str)).removeprefix("torch.")
        return f"the model's parameters are {kind}, inputs are float32: float32 is due, call .float() on the model"
    if _reads_integers(model, inputs, error):
        return (
            f"the model reads integers and inputs are float32 ({one_line(error)}): call .long() on them in the model, "
            "which is exact up to 16,777,216"
        )
    named = f" ({shown(features)})" if features else ""
    widths = re.search(r"\(\d+x(\d+) and (\d+)x\d+\)", str(error))
    if len(shape) == 1 and widths and int(widths[1]) == shape[0]:
        return (
            f"the model cannot read inputs of shape {shape}: it reads {widths[2]} features, the data have {shape[0]}"
            f"{named}: set dataset.features or model.arguments"
        )
    return f"the model cannot read inputs of shape {shape}{named} ({one_line(error)}): give dataset.transform"


def _reads_integers(model: nn.Module, inputs: Tensor, error: Exception) -> bool:
    try:
        with torch.no_grad():
            model(inputs.long())
    except Exception:  # a token beyond the table, say: the first error's words have to do
        return re.search(r"(?i)indices.*long|index tensor|used as indices", one_line(error)) is not None
    return True
