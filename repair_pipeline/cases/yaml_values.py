"""Reads YAML and keeps how values were written: ``no`` is read as false, ``12:30`` as 750."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

_MOST = 100_000
"""Maximum number of values, counted at every alias."""
KEY = "[key]"
"""Suffix of a path that means the key itself, not its value."""


@dataclass(frozen=True)
class Spelling:
    """A value without quotes that YAML does not read as text."""

    text: str
    value: object

    @property
    def advice(self) -> str:
        """What to tell the user if text is required here."""
        if not self.text:
            return "no value is given: give one"
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
"""Spellings by the path of the value: its keys and list positions, joined by dots."""
NO_SPELLINGS: Spellings = {}
"""For fields that were not read from YAML."""


def read_yaml(text: str, path: str = "") -> tuple[Any, Spellings]:
    """The value of a YAML text, and the spellings of the values in it that are not text.

    Args:
        text: the YAML.
        path: the key that the value belongs to, if any; it starts the paths of the spellings.

    Raises:
        yaml.YAMLError: it is not YAML, gives a key twice, or is too large once its aliases are followed.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is None:
            return None, {}
        _require_finite(node, {})
        value = yaml.safe_load(text)
        return value, dict(_spellings(node, value, path, ()))
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML lets through what int(), date() and recursion raise
        raise yaml.YAMLError(f"{type(error).__name__}: {error}") from error


def _require_finite(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The number of values below a node, counted again at every alias; refuses too many, and a key given twice."""
    if id(node) in sizes:
        return sizes[id(node)]
    sizes[id(node)] = 1  # while it is counted, for an alias that refers to its own ancestor
    children: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [child for pair in node.value for child in pair]
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            line, name = key.start_mark.line + 1, (key.tag, str(key.value))
            if name in lines and isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError(f"the key {key.value} is given twice, in lines {lines[name]} and {line}")
            lines[name] = line
    sizes[id(node)] = 1 + sum(_require_finite(child, sizes) for child in children)
    if sizes[id(node)] > _MOST:
        raise yaml.YAMLError(f"its aliases stand for more than {_MOST} values")
    return sizes[id(node)]


def _spellings(
    node: yaml.Node, value: object, path: str, ancestors: tuple[yaml.Node, ...]
) -> Iterator[tuple[str, Spelling]]:
    if any(node is other for other in ancestors):  # an alias that refers to its own ancestor
        return
    ancestors = (*ancestors, node)
    if isinstance(node, yaml.ScalarNode):
        if node.style is None and not isinstance(value, str):
            yield path, Spelling(node.value, value)
    elif isinstance(node, yaml.SequenceNode) and isinstance(value, list):
        for position, (child, item) in enumerate(zip(node.value, value, strict=True)):
            yield from _spellings(child, item, _join(path, position), ancestors)
    elif isinstance(node, yaml.MappingNode) and isinstance(value, dict):
        for key_node, child in node.value:
            key = _key(key_node)
            if key in value:  # keys merged in by << are not
                yield from _spellings(key_node, key, _join(path, key) + KEY, ancestors)
                yield from _spellings(child, value[key], _join(path, key), ancestors)


def _key(node: yaml.Node) -> Any:
    """The value of a scalar key; None for a list or a mapping."""
    return yaml.SafeLoader("").construct_object(node) if isinstance(node, yaml.ScalarNode) else None


def _join(path: str, part: object) -> str:
    return f"{path}.{part}" if path else str(part)
