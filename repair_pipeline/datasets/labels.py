"""Conversion between label values in a file, class names and class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from math import inf, isfinite
from unicodedata import normalize

import numpy as np
import torch
from jaxtyping import Bool, Int64, Shaped
from torch import Tensor

from repair_pipeline.errors import InputError
from repair_pipeline.types import PADDING, LabelForm

_SHOWN = 20
"""Maximum number of classes or rows listed in a message."""
LENGTH = 60
"""Maximum number of characters of a name in a message."""


def class_name(value: object) -> str:
    """The class name of a label value.

    1, 1.0 and a decimal 1.00 are the same class, ``1``; so is text that Unicode writes in two ways (é as one character
    or as two), which file systems and programs convert into each other.
    """
    if isinstance(value, float | Decimal) and isfinite(value) and value == int(value):
        return str(int(value))
    return normalize("NFC", str(value))


def shown(names: Iterable[str], most: int = _SHOWN) -> str:
    """The names for a message, comma-separated, at most ``most``; long ones are cut.

    Names that are empty, or have blanks at an end or characters that are not printed, are quoted.
    """
    names = list(names)
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    cut = [name if len(name) <= LENGTH else f"{name[:LENGTH]}…" for name in names[:most]]
    return (
        ", ".join(name if name and name == name.strip() and name.isprintable() else repr(name) for name in cut) + rest
    )


BETWEEN = "|"
"""Stands between the classes of a label that is a set, written as text."""
IGNORED = str(PADDING)
"""How a file says that a token has no class."""


def number_in(text: str) -> float:
    """The number that a text is; infinity if it is none, so that numbers are sorted by size, and before others."""
    try:
        return float(text) if isfinite(float(text)) else inf
    except ValueError:
        return inf


def texts(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> list[str]:
    """Labels as tables and patches have them: by the class's name, as a number, several names, or a text.

    Args:
        labels: class numbers, numbers, sets, tokens or their classes.
        classes: class names or tokens; empty for numbers.
    """
    values, form = labels.tolist(), LabelForm.of(labels)
    if form is LabelForm.SET:
        rows = (zip(classes, row, strict=True) for row in values)
        return [BETWEEN.join(name for name, there in row if there) for row in rows]
    if form is LabelForm.TAGS:
        return [" ".join(classes[tag] for tag in row if tag != PADDING) for row in values]
    if form is LabelForm.COMPLETION:
        return [_text(row, classes) for row in values]
    if form is LabelForm.NUMBER:
        return [class_name(value) for value in values]
    return [classes[label] for label in values]


def _text(tokens: list[int], vocabulary: tuple[str, ...]) -> str:
    """Tokens as text; those without a name by their numbers."""
    if not vocabulary:
        return " ".join(str(token) for token in tokens if token != PADDING)
    return "".join(vocabulary[token] for token in tokens if 0 <= token < len(vocabulary)).strip()


def column_of(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> list[str] | list[float]:
    """Labels as predicates compare them: the names of classes, or numbers."""
    return texts(labels, classes) if classes or labels.dim() == 2 else labels.double().tolist()


def label_of(text: str, classes: tuple[str, ...], like: Shaped[Tensor, "*l"]) -> Shaped[Tensor, "*l"] | None:
    """The label that ``texts`` writes so; None if there is none.

    Args:
        text: of one label.
        classes: class names; empty for numbers.
        like: the label that the row has, with as many tokens.
    """
    if LabelForm.of(like[None]) is LabelForm.TAGS:
        names, at = text.split(), like != PADDING
        if len(names) != at.sum() or not set(names) <= set(classes):
            return None
        label = like.clone()
        label[at] = torch.tensor([classes.index(name) for name in names], dtype=like.dtype)
        return label
    value = number_in(text) if not classes else classes.index(text) if text in classes else inf
    return torch.tensor(value, dtype=like.dtype) if value < inf else None


def relabelled(
    labels: Shaped[Tensor, "n *l"], new: Mapping[int, str], classes: tuple[str, ...]
) -> Shaped[Tensor, "n *l"]:
    """The labels with those of some rows changed.

    Args:
        labels: of all rows.
        new: as ``texts`` writes it, by position.
        classes: class names; empty for numbers.

    Raises:
        InputError: one is no label of its row.
    """
    changed = labels.clone()
    for row, text in new.items():
        label = label_of(text, classes, labels[row])
        if label is None:
            raise InputError(f"a row cannot get the label {text!r}: {possible(labels[row], classes)}")
        changed[row] = label
    return changed


def possible(like: Shaped[Tensor, "*l"], classes: tuple[str, ...]) -> str:
    """What other labels a row with this one may get, for a message."""
    if LabelForm.of(like[None]) is LabelForm.TAGS:
        return f"the row has {int((like != PADDING).sum())} tokens: give each one of the classes {shown(classes)}"
    return f"the classes are {shown(classes)}: use one of them" if classes else "labels are numbers"


def strata(labels: Shaped[Tensor, "n *l"]) -> Int64[Tensor, " n"]:
    """The class of each row, by which splits are stratified; of numbers the quarter by size, from 0; or one for all."""
    if labels.dim() == 2:
        return torch.zeros(len(labels), dtype=torch.int64)
    if not labels.is_floating_point():
        return labels
    inner = np.quantile(labels.double().numpy(), [0.25, 0.5, 0.75])
    return torch.bucketize(labels.double(), torch.from_numpy(inner))


def members(labels: Shaped[Tensor, "n *l"], classes: tuple[str, ...]) -> dict[str, Bool[Tensor, " n"]]:
    """The rows of each class by its name, or that have a token of it; of numbers those of each quarter; texts: none.

    Quarters are by size, and named by their ends.
    """
    form = LabelForm.of(labels)
    if form is LabelForm.SET:
        return {name: labels[:, at] for at, name in enumerate(classes)}
    if form is LabelForm.TAGS:
        return {name: (labels == at).any(dim=1) for at, name in enumerate(classes)}
    if form is LabelForm.COMPLETION:
        return {}
    if form is LabelForm.CLASS:
        return {name: labels == label for label, name in enumerate(classes)}
    quarters = strata(labels)
    masks = [quarters == quarter for quarter in quarters.unique()]
    return {f"{labels[mask].min().item():g} to {labels[mask].max().item():g}": mask for mask in masks}
