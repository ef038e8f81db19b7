"""What a model returns, where that is not a tensor of logits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from torch import Tensor

from repair_pipeline.errors import InputError

_LOGITS = "logits"


def require_tensor(outputs: Any, classes: int | None = None, mode: str = "") -> Tensor:
    """``outputs`` where they are a tensor.

    Args:
        classes: how many logits a row are due, where that is known.
        mode: says in which mode the model returned them, where that matters.

    Raises:
        InputError: they are not; says what they are, and what to return.
    """
    if isinstance(outputs, Tensor):
        return outputs
    what, logits = _described(outputs)
    due = f"(n, {classes}) tensor of logits" if classes else "tensor of logits"
    wanted = f"{logits}, the {due}" if logits else f"the {due}"
    raise InputError(f"the model returns {what}{mode}: wrap it so that it returns {wanted}")


def _described(outputs: Any) -> tuple[str, str]:
    """What it is, and where in it the logits are if it says so."""
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
