"""How a model is given its inputs, and where the logits are in what it returns: found by trying it on a few rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import debug_unwrap

from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.named_tensors import Batch, NamedTensors

Cast = Literal["none", "float", "integer"]
"""What the model's inputs are converted to: nothing, the floating-point type of its parameters, or int64."""
Call = Literal["tensor", "arguments", "mapping"]
"""How a model takes its inputs: a single tensor, several as its arguments, or several in one mapping."""

_HALF = (torch.float16, torch.bfloat16)
_TOKENS = (torch.int32, torch.int64)
"""Types that an embedding reads. Smaller integers and truth values are pixels or flags before they are tokens."""


@dataclass(frozen=True)
class Reading:
    """What stands between a model, its inputs and its logits. It is a pair of hooks, so all users of the model get it.

    Beneath a likelihood: it gives the tensor of outputs, which the likelihood converts to logits.
    """

    likelihood: Likelihood
    cast: Cast = "none"
    call: Call = "tensor"
    at: str | int | None = None
    """The key, position or attribute of the logits; None: the outputs are a tensor, or have something called logits."""
    single: bool = False
    """Whether the model returns one number z for two classes, whose logits are 0 and z."""
    widened: torch.dtype | None = None
    """The precision that the model's parameters had before they were made float32; None: they were not."""
    returns: str = ""
    """Where the logits are in what the model returns in eval mode, in words; empty: it returns a tensor."""

    def on(self, model: nn.Module) -> nn.Module:
        """Add the conversions to the model, in place; returns the same model.

        Raises:
            InputError: it needs one, but is a scripted module, whose inputs and outputs cannot be changed.
        """
        if isinstance(model, torch.jit.ScriptModule):
            if (self.cast, self.call) == ("none", "tensor") and not self.single and self.likelihood.logits is None:
                return model
            raise InputError(
                f"the model is a {type(model).__name__}, which supports only the softmax likelihood, and inputs and "
                "outputs that need no conversion: give the module that it was scripted from"
            )
        model.register_forward_pre_hook(self._before, with_kwargs=True)
        model.register_forward_hook(self._after)
        return model

    def _before(self, model: nn.Module, args: tuple[Any, ...], more: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if not args or not isinstance(args[0], Tensor | NamedTensors | dict):
            return args, more
        # A dict is what a DataLoader of rows with named tensors gives.
        inputs = NamedTensors(args[0]) if isinstance(args[0], dict) else args[0]
        at, named = self.arguments(self.converted(model, inputs))
        return (*at, *args[1:]), {**named, **more}

    def arguments(self, inputs: Batch) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the model is called with: positional arguments, and those with names."""
        if isinstance(inputs, Tensor):
            return (inputs,), {}
        return ((dict(inputs.parts),), {}) if self.call == "mapping" else inputs.arguments

    def converted(self, model: nn.Module, inputs: Batch) -> Batch:
        """The inputs in the types that the model reads."""
        if self.cast == "none":
            return inputs
        if self.cast == "integer":
            assert isinstance(inputs, Tensor)
            _require_whole(inputs)
            return inputs.long()
        return inputs.to(precision(model))  # at every call: a method may use the model in another precision

    def _after(self, model: nn.Module, inputs: Any, returned: Any) -> Any:
        outputs = self._outputs(returned)
        if not isinstance(outputs, Tensor):
            return returned  # refused where the outputs are used
        if outputs.dtype in _HALF:  # an autocast region of the model
            outputs = outputs.float()
        if self.single:
            column = outputs.reshape(-1, 1)
            outputs = torch.cat([torch.zeros_like(column), column], dim=1)
        return self.likelihood.logits(outputs) if self.likelihood.logits else outputs

    def _outputs(self, returned: Any) -> Any:
        if isinstance(returned, Tensor):
            return returned
        parts: dict[Any, Any] = dict(_parts(returned))
        return parts.get(_LOGITS, parts.get(self.at))

    @property
    def lines(self) -> Iterator[tuple[str, str]]:
        """What is converted, as pairs of a subject and a sentence."""
        if self.call == "mapping":
            yield "inputs", "the model takes them in one mapping"
        if self.cast == "integer":
            yield "inputs", "the model reads integers: they are converted to int64, exactly"
        if self.cast == "float":
            yield "inputs", "converted to the floating-point type of the model's parameters"
        if self.widened:
            kind = str(self.widened).removeprefix("torch.")
            yield "precision", f"the model's parameters are {kind}: they are computed with and saved as float32"
        if self.returns:
            yield "outputs", self.returns
        if self.single:
            yield "outputs", "a single number z for each row: the logits of the two classes are 0 and z"


_LOGITS = "logits"


def _require_whole(inputs: Tensor) -> None:
    """Refuse numbers that ``long`` would cut off. Not inside a transform or an export, which cannot read values."""
    if inputs.is_floating_point() and debug_unwrap(inputs) is inputs and not torch.compiler.is_compiling():
        different = inputs[inputs != inputs.round()]
        if len(different):
            raise InputError(
                f"the model reads integers, but an input is {float(different[0]):g}: set dataset.transform, "
                "or the features to whole numbers"
            )


def with_logits(model: nn.Module, inputs: Batch, classes: int, likelihood: Likelihood) -> nn.Module:
    """Make the model read these inputs and return logits, in place; returns the same model.

    It is tried in eval mode: with the inputs as they are, and if it fails, with inputs of its parameters' type, or
    with integers if all inputs are whole numbers; several tensors as arguments, then as one mapping. Parameters of half
    precision become float32, in which alone squared gradients do not vanish. If nothing works, the model is left as it
    is, and refused where it is first used.

    Args:
        model: as its owner built it.
        inputs: a few rows, at least two.
        classes: number of classes.
        likelihood: converts the outputs to logits.

    Raises:
        InputError: the model has no parameters, or is scripted and needs a conversion.
    """
    precision(model)
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = (
                False  # the same gradients in another format, which no transform and not all optimisers take
            )
    halves = [parameter.dtype for parameter in model.parameters() if parameter.dtype in _HALF]
    if halves:
        model.float()
    modes = {module: module.training for module in model.modules()}
    try:
        found = _found(model.eval(), inputs.to(next(model.parameters()).device), classes, likelihood)
    finally:
        for module, training in modes.items():
            module.training = training
    return replace(found, widened=halves[0] if halves else None).on(model)


def precision(model: nn.Module) -> torch.dtype:
    """The floating-point type of the model's first parameter, or float32 if that is of half precision.

    Raises:
        InputError: no parameter is of floating point.
    """
    for parameter in model.parameters():
        if parameter.is_floating_point():
            return torch.float32 if parameter.dtype in _HALF else parameter.dtype
    raise InputError(
        f"the model {type(model).__name__} has no floating-point parameters, so there is nothing to repair: "
        "if it is quantised, give the model that it was made from"
    )


def reading_of(model: nn.Module) -> Reading:
    """What was added to the model by ``with_logits``; a scripted module has no conversions."""
    owners = (getattr(hook, "__self__", None) for hook in model._forward_hooks.values())
    return next((owner for owner in owners if isinstance(owner, Reading)), Reading(Likelihood(None, "")))


def off(model: nn.Module) -> nn.Module:
    """Remove all conversions from the model, in place; returns the same model."""
    for hooks in (model._forward_pre_hooks, model._forward_hooks):  # an entry of …_with_kwargs alone does nothing
        # torch removes a hook only by its handle, which a copy of the model does not have.
        for key in [
            k for k, hook in hooks.items() if isinstance(getattr(hook, "__self__", None), Reading | Likelihood)
        ]:
            del hooks[key]
    return model


@torch.no_grad()
def _found(model: nn.Module, inputs: Batch, classes: int, likelihood: Likelihood) -> Reading:
    calls: tuple[Call, ...] = ("arguments", "mapping") if isinstance(inputs, NamedTensors) else ("tensor",)
    for reading in (Reading(likelihood, cast, call) for call in calls for cast in _casts(inputs)):

        def returned_for(count: int, reading: Reading = reading) -> Any:
            at, named = reading.arguments(reading.converted(model, inputs[:count]))
            return model(*at, **named)

        try:
            returned = {count: returned_for(count) for count in {min(2, len(inputs)), len(inputs)}}
        except Exception:  # any error of the model: the next conversion is tried, and the first error is shown later
            continue
        return _read(reading, returned, classes)
    return Reading(likelihood)


def _casts(inputs: Batch) -> list[Cast]:
    if isinstance(inputs, NamedTensors):
        return ["none", "float"]
    whole = not inputs.is_floating_point() or bool((inputs == inputs.round()).all())
    integers: list[Cast] = ["integer"] if whole else []
    if inputs.is_floating_point() or inputs.dtype in _TOKENS:
        return ["none", "float", *integers]
    return ["float", *integers, "none"]


def _read(reading: Reading, returned: Mapping[int, Any], classes: int) -> Reading:
    """The reading, with the place of the logits in what was returned for each of several numbers of rows."""
    one_for_two = classes == 2 and reading.likelihood.logits is None

    def single(part: Any, rows: int) -> bool:
        return one_for_two and isinstance(part, Tensor) and part.is_floating_point() and part.numel() == rows

    def outputs(part: Any, rows: int) -> bool:
        if not isinstance(part, Tensor) or not part.is_floating_point():
            return False
        if reading.likelihood.logits is not None:  # which says nothing of the number of outputs
            return part.shape[:1] == (rows,)
        return part.shape == (rows, classes) or single(part, rows)

    def fits(place: Any) -> bool:
        return all(outputs(dict(_parts(whole)).get(place), rows) for rows, whole in returned.items())

    example = next(iter(returned.values()))
    if not isinstance(example, Tensor):
        places = [place for place, _ in _parts(example) if fits(place) or place == _LOGITS]
        at = _LOGITS if _LOGITS in places else places[0] if len(places) == 1 else None
        if at is not None:
            name = f"{at!r}" if isinstance(at, str) else f"number {at + 1}"
            words = f"of the {type(example).__name__} that the model returns, {name} is taken as the logits"
            reading = replace(reading, at=at, returns=words)
    return replace(reading, single=all(single(reading._outputs(whole), rows) for rows, whole in returned.items()))


def _parts(returned: Any) -> Iterator[tuple[str | int, Any]]:
    """The values in what a model returned, by key, field or position."""
    if isinstance(returned, Mapping):
        yield from returned.items()
    elif isinstance(returned, tuple | list):
        yield from zip(getattr(returned, "_fields", range(len(returned))), returned, strict=True)
    elif hasattr(returned, "__dict__"):
        yield from vars(returned).items()
