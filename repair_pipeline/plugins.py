"""Catalogues: entries by name, from this package, from installed plugins and from scripts."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, TypeVar

from repair_pipeline.errors import InputError

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., Any])


class Catalogue(dict[str, E]):
    """Entries of one class by name: the built-in ones, then those of installed packages, then registered ones.

    Args:
        noun: what an entry is called in messages, such as ``treatment``.
        group: the group of entry points in which packages declare their entries.
        kind: the class of an entry; its first field is the object that ``register`` decorates.
        builtin: this package's entries.

    Raises:
        InputError: an entry of another package cannot be used.
    """

    def __init__(self, noun: str, group: str, kind: type[E], builtin: dict[str, E]) -> None:
        super().__init__(builtin | plugins(group, kind, builtin))
        self._noun = noun
        self._make: Callable[..., E] = kind

    def named(self, name: str) -> E:
        """The entry called ``name``.

        Raises:
            InputError: there is none; suggests similar names, or else lists all.
        """
        if name not in self:
            similar = get_close_matches(name, self)
            hint = f"did you mean {', '.join(similar)}?" if similar else f"choose among {', '.join(self)}"
            raise InputError(f"there is no {self._noun} {name!r}: {hint}")
        return self[name]

    def register(self, name: str, **fields: Any) -> Callable[[F], F]:
        """A decorator that adds a class or function to this process's catalogue and returns it unchanged.

        Args:
            name: the entry's name.
            fields: the entry's other fields, such as its ``line``.

        Raises:
            InputError: the name is taken.
        """

        def add(entry: F) -> F:
            if name in self:
                raise InputError(f"the {self._noun} {name!r} already exists: give it another name")
            self[name] = self._make(entry, **fields)
            return entry

        return add


def plugins(group: str, kind: type[E], known: dict[str, E]) -> dict[str, E]:
    """The entries that installed packages declare in a group of entry points, by entry-point name.

    Args:
        group: the group's name in a package's ``pyproject.toml``.
        kind: the class that an entry point must be an instance of.
        known: the existing entries, whose names are taken.

    Raises:
        InputError: an entry cannot be imported, has another class, or has a name that is taken.
    """
    entries = dict[str, E]()
    for point in entry_points(group=group):
        where = f"the entry point {point.name} of {group} ({point.value})"
        try:
            entry = point.load()
        except Exception as error:
            why = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{where} cannot be imported ({why}): fix or uninstall its package") from error
        if not isinstance(entry, kind):
            raise InputError(f"{where} is a {type(entry).__name__}: name a {kind.__name__}")
        if point.name in known or point.name in entries:
            raise InputError(f"{where} has a name that is taken: give it another name")
        entries[point.name] = entry
    return entries
