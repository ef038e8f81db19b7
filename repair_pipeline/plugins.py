"""What a catalogue is, and the entries of it that other packages and scripts bring along."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any, TypeVar

from repair_pipeline.errors import InputError

E = TypeVar("E")
F = TypeVar("F", bound=Callable[..., Any])


class Catalogue(dict[str, E]):
    """Entries of a kind by name: ours, then those of installed packages, then those that a script registers.

    Args:
        what: what an entry is, in words.
        group: the group of entry points in which a package declares its own.
        kind: the class of an entry, whose first field is what is registered.
        ours: this package's.

    Raises:
        InputError: an entry of another package cannot be used.
    """

    def __init__(self, what: str, group: str, kind: type[E], ours: dict[str, E]) -> None:
        super().__init__(ours | plugins(group, kind, ours))
        self._what = what
        self._make: Callable[..., E] = kind

    def named(self, name: str) -> E:
        """The entry that is called ``name``.

        Raises:
            InputError: none is; says which are called alike, or else all.
        """
        if name not in self:
            alike = get_close_matches(name, self)
            move = f"did you mean {', '.join(alike)}?" if alike else f"choose among {', '.join(self)}"
            raise InputError(f"there is no {self._what} {name!r}: {move}")
        return self[name]

    def register(self, name: str, **about: Any) -> Callable[[F], F]:
        """A decorator that adds a class or a function to the catalogue of this process, and returns it as it is.

        Args:
            about: the entry's other fields, such as its ``line``.

        Raises:
            InputError: the name is taken.
        """

        def added(made: F) -> F:
            if name in self:
                raise InputError(f"the {self._what} {name!r} is there already: give it another name")
            self[name] = self._make(made, **about)
            return made

        return added


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
