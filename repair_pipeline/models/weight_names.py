"""Which tensor of a weights file is which of a model's, whatever wrapped the model when it was saved."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from repair_pipeline.errors import InputError

log = logging.getLogger(__name__)

_WRAPPERS = frozenset({"module", "model", "_orig_mod"})
"""What DataParallel, Lightning and torch.compile put before names."""

Tied = Mapping[str, tuple[str, ...]]
"""A name of the model → all names of its tensor."""


def by_the_models_names(model: nn.Module, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """``tensors`` under the names that the model has for them, those that the file has under one name only included.

    A tensor that the model ties to another may be missing, as ``safetensors.torch.save_model`` leaves it out. A prefix
    that all of the model's names have in the file, or those of the file in the model, is not looked at, and a warning
    says so; beside a prefix, what belongs to something else is left out.

    Raises:
        InputError: a tensor is missing, not known, or there under two prefixes.
    """
    due = model.state_dict(keep_vars=True)
    tied = _tied(due)
    found = _renamed(due, tied, tensors, where) if _lacking(due, tied, tensors) else dict(tensors)
    if missing := _lacking(due, tied, found):
        raise InputError(f"{where} lacks {missing!r}, which the model has: give the weights of this architecture")
    if extra := [name for name in found if name not in due]:
        raise InputError(f"{where} holds {extra[0]!r}, which the model has not: give the weights of this architecture")
    return {name: found[next(other for other in tied[name] if other in found)] for name in due}


def _tied(due: Mapping[str, Tensor]) -> Tied:
    groups: dict[object, list[str]] = {}
    for name, tensor in due.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else name
        groups.setdefault(key, []).append(name)
    # A name's own tensor is looked for first.
    return {name: (name, *(other for other in group if other != name)) for group in groups.values() for name in group}


def _lacking(due: Iterable[str], tied: Tied, names: Iterable[str]) -> str | None:
    """The first of the model's names that no tensor stands for."""
    there = set(names)
    return next((name for name in due if there.isdisjoint(tied[name])), None)


def _renamed(due: Mapping[str, Tensor], tied: Tied, tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors under the model's names where a prefix explains the file's; else as they are."""
    complete: dict[str, dict[str, str]] = {}
    for plain in _spellings(due):
        first = next(iter(plain))
        endings = {other for name in tied[plain[first]] for other in plain if plain[other] == name}
        prefixes = {_bare(name)[: -len(end)] for name in tensors for end in endings if _ends(_bare(name), end)}
        for prefix in sorted(prefixes):
            named = {
                plain[rest]: name
                for name in tensors
                if (bare := _bare(name)).startswith(prefix) and (rest := bare[len(prefix) :]) in plain
            }
            if not _lacking(due, tied, named):
                complete.setdefault(prefix, named)
    chosen = [prefix for prefix in complete if set(prefix.split(".")[:-1]) <= _WRAPPERS] or list(complete)
    if not chosen:
        return dict(tensors)
    if len(chosen) > 1:
        raise InputError(f"{where} holds the model twice, under {chosen[0]!r} and {chosen[1]!r}: leave one of them")
    named = complete[chosen[0]]
    left_out = sorted(set(tensors) - set(named.values()))
    if not chosen[0] and left_out:
        return dict(tensors)
    _say(where, named, left_out)
    return {name: tensors[theirs] for name, theirs in named.items()}


def _spellings(due: Mapping[str, Tensor]) -> list[dict[str, str]]:
    """The model's names, and those without what wraps it where something does: {a name so spelt: the name}."""
    plain = {_bare(name): name for name in due}
    spellings = [plain]
    parts = next(iter(plain)).split(".")
    wrapper = parts[0] + "."
    if parts[0] in _WRAPPERS and all(name.startswith(wrapper) for name in plain):
        spellings.append({name.removeprefix(wrapper): full for name, full in plain.items()})
    return spellings


def _bare(name: str) -> str:
    """Without torch.compile's mark, which stands wherever a part was compiled."""
    return name.replace("_orig_mod.", "")


def _ends(name: str, end: str) -> bool:
    return name == end or name.endswith("." + end)


def _say(where: str, named: Mapping[str, str], left_out: list[str]) -> None:
    name, theirs = next(iter(named.items()))
    if theirs.endswith("." + name):
        says = f"the names in {where} begin with {theirs.removesuffix(name)!r}: they are read without it"
    else:
        says = f"{where} calls {name!r} of the model {theirs!r}, and the others likewise: they are read as the model's"
    others = f"; {', '.join(left_out[:5])}{' and more' if len(left_out) > 5 else ''} left out" if left_out else ""
    log.warning("%s%s", says, others)
