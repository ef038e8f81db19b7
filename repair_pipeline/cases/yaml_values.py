"""YAML as it is read, and as it was written: ``no`` is false, ``12:30`` is 750."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

KEY = "[key]"
"""What stands behind the path of a value for its key."""


@dataclass(frozen=True)
class Spelling:
    """A value without quotes that is read as something else than text."""

    text: str
    value: object

    @property
    def advice(self) -> str:
        """What to do where text is due."""
        if not self.text:
            return "nothing is given: give a value"
        return f'YAML reads {self.text} as {self._meaning}: write "{self.text}" in quotes'

    @property
    def _meaning(self) -> str:
        shown = str(self.value).lower()
        match self.value:
            case bool():
                return shown if shown != self.text.lower() else "a truth value"
            case int() | float():
                return "a number" if shown == self.text.lower() else f"the number {shown}"
            case date():
                return "a date"
            case None:
                return "nothing"
            case _:
                return type(self.value).__name__


Spellings = Mapping[str, Spelling]
"""By the path of the value, its keys and places with dots between."""
NOT_WRITTEN: Spellings = {}
"""Of fields that were never YAML."""


def read_yaml(text: str, path: str = "") -> tuple[Any, Spellings]:
    """The value of a YAML text, and how the values in it that are no text are written.

    Args:
        path: the key that the value is of.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    value = yaml.safe_load(text)
    node = yaml.compose(text, yaml.SafeLoader)
    return value, {} if node is None else dict(_spellings(node, value, path, ()))


def _spellings(
    node: yaml.Node, value: object, path: str, above: tuple[yaml.Node, ...]
) -> Iterator[tuple[str, Spelling]]:
    if any(node is other for other in above):  # an alias of what it is in
        return
    above = (*above, node)
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and not isinstance(value, str):
            yield path, Spelling(node.value, value)
    elif isinstance(node, yaml.SequenceNode) and isinstance(value, list):
        for place, (child, inside) in enumerate(zip(node.value, value, strict=True)):
            yield from _spellings(child, inside, _join(path, place), above)
    elif isinstance(node, yaml.MappingNode) and isinstance(value, dict):
        for key_node, child in node.value:
            key = _key(key_node)
            if key in value:  # what is merged in by << is not
                yield from _spellings(key_node, key, _join(path, key) + KEY, above)
                yield from _spellings(child, value[key], _join(path, key), above)


def _key(node: yaml.Node) -> Any:
    """What a key that is no list and no mapping is read as."""
    return yaml.SafeLoader("").construct_object(node) if isinstance(node, yaml.ScalarNode) else None


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)
