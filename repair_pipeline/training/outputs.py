"""Refusing models that do not return a tensor of logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from repair_pipeline.errors import InputError

_LOGITS = "logits"


def require_tensor(outputs: Any, classes: int | None = None, mode: str = "") -> Tensor:
    """``outputs``, if they are a tensor.

    Args:
        outputs: what the model returned.
        classes: the expected number of logits per row, if known.
        mode: added to the message, such as `` in train mode``.

    Raises:
        InputError: they are not a tensor; the message describes them and says what to return.
    """
    if isinstance(outputs, Tensor):
        return outputs
    description, logits = _description(outputs)
    tensor = f"(n, {classes}) tensor of logits" if classes else "tensor of logits"
    expected = f"{logits}, the {tensor}" if logits else f"the {tensor}"
    raise InputError(f"the model returns {description}{mode}: wrap it so that it returns {expected}")


def _description(outputs: Any) -> tuple[str, str]:
    """A description of the outputs, and where the logits are in them; empty if they have no such field."""
    kind = type(outputs).__name__
    if isinstance(outputs, Mapping):
        keys = ", ".join(repr(key) for key in list(outputs)[:5])
        return f"a {kind} with the keys {keys}", f"its {_LOGITS!r}" if _LOGITS in outputs else ""
    if isinstance(outputs, tuple | list):
        names = getattr(outputs, "_fields", ())
        named = f" ({', '.join(names[:5])})" if names else ""
        logits = f"its {_LOGITS}" if _LOGITS in names else ""
        return f"a {kind} of {len(outputs)}{named}", logits
    names = tuple(field.name for field in fields(outputs)) if is_dataclass(outputs) else ()
    logits = f"its .{_LOGITS}" if hasattr(outputs, _LOGITS) else ""
    return f"an object {kind}" + (f" with {', '.join(names[:5])}" if names else ""), logits
