"""Whether a model fits the data: its inputs, its outputs and its gradients."""

from __future__ import annotations

import re

import torch
from jaxtyping import Float
from torch import Tensor, nn

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.datasets.labels import shown
from repair_pipeline.datasets.prepared import kind
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.likelihoods.reading import precision, reading_of
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.models.copying import copied
from repair_pipeline.models.user_model import Adapted, freeze
from repair_pipeline.named_tensors import Batch, NamedTensors, tensors_of
from repair_pipeline.training.fit import logits
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.types import Examples, LabelForm

_SAMPLE = 256
"""Number of rows used to tell probabilities from logits."""


def require_fitting(
    model: nn.Module,
    rows: Examples,
    classes: tuple[str, ...],
    features: tuple[str, ...] = (),
    adapted: Adapted = "all",
) -> None:
    """Refuse a model that cannot read the rows, does not return what the likelihood reads, or has no gradients.

    Args:
        model: as ``with_logits`` returns it; left unchanged.
        rows: examples of the data.
        classes: class names, in the order of the model's outputs.
        features: names of the feature columns in use, in order; empty for images.
        adapted: the parameters that need gradients.

    Raises:
        InputError: the model does not fit; the message says why.
    """
    require_readable(model, rows[:2], classes, features)
    if likelihood_of(model).form is LabelForm.CLASS:
        require_logits(model, rows)
    if reads_integers(model, rows):
        logits(model, _extremes(rows))
    require_differentiable(freeze(copied(model), adapted), rows[:2])


def require_readable(
    model: nn.Module, rows: Examples, classes: tuple[str, ...], features: tuple[str, ...] = ()
) -> Float[Tensor, "n *k"]:
    """The model's outputs for these rows, on the CPU: one logit per class, or a number for each.

    Args:
        model: is put into eval mode.
        rows: examples of the data.
        classes: class names, in the order of the model's outputs.
        features: names of the feature columns in use, in order; empty for images.

    Raises:
        InputError: the model cannot read the rows, or returns something else.
    """
    inputs = rows.inputs.to(next(model.parameters()).device)
    model.eval()
    try:
        with torch.no_grad():
            returned = model(inputs)
    except Exception as error:
        raise InputError(_explanation(model, inputs, error, features)) from error
    likelihood = likelihood_of(model)
    outputs = require_tensor(returned, len(classes))
    if not outputs.is_floating_point():
        raise InputError(
            f"the model's outputs are {kind(outputs.dtype)}, as class numbers are: return the logits they come from"
        )
    if likelihood.fits(outputs, rows.labels, len(classes)):
        return outputs.cpu()
    shapes = likelihood.expected_outputs(rows.labels, len(classes))
    if likelihood.form is LabelForm.COMPLETION:
        raise InputError(
            f"the model returns outputs of shape {tuple(outputs.shape)} for {len(rows)} rows, expected "
            f"{shapes[0]}, a logit for each token that may follow each of a row's: give a causal language model "
            "of as many tokens as the tokenizer has"
        )
    if likelihood.form is LabelForm.TAGS:
        raise InputError(
            f"the model returns outputs of shape {tuple(outputs.shape)} for {len(rows)} rows, expected "
            f"{shapes[0]}, a logit for each of the classes {shown(classes, 10)} at each token: let it, and let the "
            "rows have as many tokens as the longest has classes"
        )
    if likelihood.form is LabelForm.NUMBER:
        raise InputError(
            f"the model returns outputs of shape {tuple(outputs.shape)} for {len(rows)} rows, expected "
            f"{' or '.join(map(str, shapes))}, a number for each: let it return one output"
        )
    expected = f"({len(rows)}, {len(classes)}), one logit for each of the classes {shown(classes, 10)}"
    hint = "set model.arguments or dataset.classes"
    if len(classes) == 2 and outputs.numel() == len(rows):
        both = "torch.stack([0 * z, z], 1)" if outputs.dim() == 1 else "torch.cat([0 * z, z], 1)"
        hint = f"a sigmoid's single logit z stands for two classes: return {both}"
    raise InputError(
        f"the model returns outputs of shape {tuple(outputs.shape)} for {len(rows)} rows, expected {expected}: {hint}"
    )


def require_logits(model: nn.Module, rows: Examples) -> None:
    """Refuse probabilities in place of logits: their softmax would be nearly uniform.

    Raises:
        InputError: no output is negative, and each row sums to 1.
    """
    # Two rows first: for most models they suffice.
    if all(_are_probabilities(logits(model, rows[:count])) for count in (2, _SAMPLE)):
        raise InputError(
            "the model's outputs are probabilities (none is below 0, each row sums to 1), but logits are expected: "
            "remove the final Softmax, or return log-probabilities"
        )


def _are_probabilities(outputs: Float[Tensor, "n k"]) -> bool:
    finite = outputs[outputs.isfinite().all(dim=1)].double()
    return len(finite) > 0 and bool((finite >= 0).all()) and bool(((finite.sum(dim=1) - 1).abs() < 1e-3).all())


def require_differentiable(model: nn.Module, rows: Examples) -> None:
    """Refuse a model whose per-sample gradients cannot be computed, neither batched nor one row at a time.

    Raises:
        InputError: quotes the error of a single row.
    """
    classifier = Classifier(model)
    try:
        classifier.gradients(classifier.theta_hat, rows.to(classifier.theta_hat.device))
    except Exception as error:
        raise InputError(
            f"the model's gradient for a single row cannot be computed ({one_line(error)}): "
            "make it accept a batch of one row and use differentiable torch operations"
        ) from error


def reads_integers(model: nn.Module, rows: Examples) -> bool:
    """Whether the model gets integers, as one that looks them up in a table does."""
    cast = reading_of(model).cast
    return cast == "integer" or (cast == "none" and bool(_integers(rows[:1].inputs)))


def _integers(inputs: Batch) -> list[Tensor]:
    return [part for part in tensors_of(inputs).values() if not part.is_floating_point()]


def _extremes(rows: Examples) -> Examples:
    """The rows with the largest or smallest value of a column: if an embedding lacks a token, then one of these."""
    found = rows[:0]
    for batch in rows.batches(1000):
        found = Examples.concat([found, batch])
        tensors = _integers(found.inputs) or list(tensors_of(found.inputs).values())
        values = torch.cat([tensor.flatten(1).long() for tensor in tensors], dim=1)
        found = found[torch.cat([values.argmax(dim=0), values.argmin(dim=0)]).unique()]
    return found


def _explanation(model: nn.Module, inputs: Batch, error: Exception, features: tuple[str, ...]) -> str:
    """Why the model cannot read the inputs, and what to do."""
    kinds = {name.lower() for name in re.findall(r"(?i)\b(?:float|double|half|bfloat16)\b", str(error))}
    if len(kinds) > 1:
        return (
            f"the model computes in several precisions ({one_line(error)}): let all its layers have the type of its "
            f"first parameter, {kind(precision(model))}, and take conversions such as .half() out of it"
        )
    if isinstance(inputs, NamedTensors):
        named = ", ".join(f"{name} {tuple(part.shape[1:])} {kind(part.dtype)}" for name, part in inputs.parts.items())
        return (
            f"the model cannot read inputs of the tensors {named} ({one_line(error)}): let dataset.transform return a "
            "tensor for each argument of the model, by its name"
        )
    shape = tuple(inputs.shape[1:])
    if re.search(r"(?i)indices.*long|index tensor|used as indices", one_line(error)):
        parts = inputs[inputs != inputs.round()]
        if len(parts):
            return (
                f"the model reads integers, but an input is {float(parts[0]):g}: set dataset.features to columns of "
                "whole numbers, or dataset.transform"
            )
        error = _error(model, inputs.long()) or error
    if re.search(r"(?i)out of range|valid range|smaller than num_classes", str(error)):
        return (
            f"the model cannot look up inputs from {int(inputs.min())} to {int(inputs.max())} ({one_line(error)}): set "
            "model.arguments to a table of as many entries as there are tokens"
        )
    named = f" ({shown(features)})" if features else ""
    widths = re.search(r"\(\d+x(\d+) and (\d+)x\d+\)", str(error))
    if len(shape) == 1 and widths and int(widths[1]) == shape[0]:
        return (
            f"the model cannot read inputs of shape {shape}: it reads {widths[2]} features, "
            f"but the data have {shape[0]}"
            f"{named}: {_OTHER_FEATURES if features else 'set dataset.features'} or set model.arguments"
        )
    advice = f"{_OTHER_FEATURES} or set model.arguments" if features else "set dataset.transform"
    return f"the model cannot read inputs of shape {shape}{named} ({one_line(error)}): {advice}"


_OTHER_FEATURES = "set dataset.features, list the columns that are no features in dataset.metadata,"
"""What to do about named features that the model does not read."""


def _error(model: nn.Module, inputs: Tensor) -> Exception | None:
    try:
        with torch.no_grad():
            model(inputs)
    except Exception as error:
        return error
    return None
