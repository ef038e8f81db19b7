"""Entries of a catalogue that other packages bring along."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TypeVar

from repair_pipeline.errors import InputError

E = TypeVar("E")


def plugins(group: str, kind: type[E], known: dict[str, E]) -> dict[str, E]:
    """The entries that installed packages declare in a group of entry points, by the entry points' names.

    Args:
        group: as a package's ``pyproject.toml`` names it.
        kind: what an entry point has to name.
        known: the entries that are there already, whose names are taken.

    Raises:
        InputError: one cannot be imported, is of another kind, or has a name that is taken.
    """
    found = dict[str, E]()
    for point in entry_points(group=group):
        where = f"the entry point {point.name} of {group} ({point.value})"
        try:
            entry = point.load()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{where} cannot be imported ({why}): mend or uninstall its package") from error
        if not isinstance(entry, kind):
            raise InputError(f"{where} is a {type(entry).__name__}: name a {kind.__name__}")
        if point.name in known or point.name in found:
            raise InputError(f"{where} has a name that is taken: give it another")
        found[point.name] = entry
    return found
