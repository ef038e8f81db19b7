"""Matching the tensors of a weights file to a model's, with or without the prefixes of wrappers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)

_WRAPPERS = frozenset({"module", "model", "_orig_mod"})
"""Prefixes that DataParallel, Lightning and torch.compile add to names."""

Tied = Mapping[str, tuple[str, ...]]
"""For each name in the model, all names of the same tensor (tied weights)."""


def by_the_models_names(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """``tensors`` under the model's names.

    Of tied tensors one is enough, as ``safetensors.torch.save_model`` saves only one. A prefix that all of the model's
    names have in the file, or all of the file's names in the model, is ignored with a warning; if there is one, tensors
    without it are left out.

    Args:
        model: the model whose names are used.
        tensors: the tensors by their names in the file.
        where: what the tensors were read from, for messages.

    Raises:
        InputError: a tensor is missing, unknown, or present under two prefixes.
    """
    expected = model.state_dict(keep_vars=True)
    tied = _tied(expected)
    renamed = _renamed(expected, tied, tensors, where) if _missing(expected, tied, tensors) else dict(tensors)
    if missing := _missing(expected, tied, renamed):
        raise InputError(f"{where} lacks {missing!r}, which the model has: give the weights of this architecture")
    if extra := [name for name in renamed if name not in expected]:
        raise InputError(
            f"{where} has {extra[0]!r}, which the model does not have: give the weights of this architecture"
        )
    return {name: renamed[next(other for other in tied[name] if other in renamed)] for name in expected}


def _tied(expected: Mapping[str, Tensor]) -> Tied:
    groups: dict[object, list[str]] = {}
    for name, tensor in expected.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
        groups.setdefault(key, []).append(name)
    # Each name stands first in its own group, so that its own tensor is preferred.
    return {name: (name, *(other for other in group if other != name)) for group in groups.values() for name in group}


def _missing(expected: Iterable[str], tied: Tied, names: Iterable[str]) -> str | None:
    """The first of the model's names for which ``names`` has no tensor; None if there is none."""
    present = set(names)
    return next((name for name in expected if present.isdisjoint(tied[name])), None)


def _renamed(
    expected: Mapping[str, Tensor], tied: Tied, tensors: Mapping[str, Tensor], where: str
) -> dict[str, Tensor]:
    """The tensors under the model's names if removing a prefix gives a complete set; else unchanged."""
    complete: dict[str, dict[str, str]] = {}
    for plain in _spellings(expected):
        first = next(iter(plain))
        endings = {other for name in tied[plain[first]] for other in plain if plain[other] == name}
        prefixes = {_bare(name)[: -len(end)] for name in tensors for end in endings if _ends(_bare(name), end)}
        for prefix in sorted(prefixes):
            named = {
                plain[rest]: name
                for name in tensors
                if (bare := _bare(name)).startswith(prefix) and (rest := bare[len(prefix) :]) in plain
            }
            if not _missing(expected, tied, named):
                complete.setdefault(prefix, named)
    chosen = [prefix for prefix in complete if set(prefix.split(".")[:-1]) <= _WRAPPERS] or list(complete)
    if not chosen:
        return dict(tensors)
    if len(chosen) > 1:
        raise InputError(f"{where} has the model twice, under {chosen[0]!r} and {chosen[1]!r}: keep only one")
    named = complete[chosen[0]]
    left_out = sorted(set(tensors) - set(named.values()))
    if not chosen[0] and left_out:
        return dict(tensors)
    _warn(where, named, left_out)
    return {name: tensors[file_name] for name, file_name in named.items()}


def _spellings(expected: Mapping[str, Tensor]) -> list[dict[str, str]]:
    """Maps from a spelling to the model's name: the names themselves, and without the prefix of a wrapper if any."""
    plain = {_bare(name): name for name in expected}
    spellings = [plain]
    parts = next(iter(plain)).split(".")
    wrapper = parts[0] + "."
    if parts[0] in _WRAPPERS and all(name.startswith(wrapper) for name in plain):
        spellings.append({name.removeprefix(wrapper): full for name, full in plain.items()})
    return spellings


def _bare(name: str) -> str:
    """The name without torch.compile's ``_orig_mod.``, which may stand anywhere in it."""
    return name.replace("_orig_mod.", "")


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith("." + end)


def _warn(where: str, named: Mapping[str, str], left_out: list[str]) -> None:
    name, file_name = next(iter(named.items()))
    if file_name.endswith("." + name):
        message = f"the names in {where} begin with {file_name.removesuffix(name)!r}: the prefix is ignored"
    else:
        message = f"the model's {name!r} is called {file_name!r} in {where}, and so on: the model's names are used"
    others = f"; {', '.join(left_out[:5])}{' and more' if len(left_out) > 5 else ''} ignored" if left_out else ""
    log.warning("%s%s", message, others)
