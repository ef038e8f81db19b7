"""Settings of methods, treatments and gates as keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import ValidationError

from repair_pipeline.errors import InputError

T = TypeVar("T")


def name_of(instance: object, makers: Mapping[str, Callable[[], object]]) -> str:
    """What cases call an instance: the entry that makes its equal, else the first of its class, else its class's name.

    It is its name that chooses the random stream, so that an instance does what its name does.
    """
    made = {name: make() for name, make in makers.items()}
    alike = [name for name, other in made.items() if other == instance]
    alike += [name for name, other in made.items() if type(other) is type(instance)]
    return alike[0] if alike else type(instance).__name__


def configured(name: str, make: Callable[..., T], settings: Mapping[str, Any]) -> T:
    """``make`` called with ``settings``, which all have a default.

    Raises:
        InputError: it has no such setting, or the value cannot be one.
    """
    try:
        return make(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "unexpected_keyword_argument":
            default: Any = make()
            has = ", ".join(field.name for field in fields(default)) or "none"
            raise InputError(f"{name} has no setting {where!r}: it has {has}") from error
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{name}: {where or 'its settings'}: {what[0].lower()}{what[1:]} (got {first['input']!r})"
        ) from error


def require_no_settings(instance: object, settings: Mapping[str, Any]) -> None:
    """Refuse settings beside an instance, which has its own.

    Raises:
        InputError: there are any.
    """
    if settings:
        raise InputError(
            f"{', '.join(settings)} is given beside an instance of {type(instance).__name__}: "
            "set it on the instance, or give a name"
        )
