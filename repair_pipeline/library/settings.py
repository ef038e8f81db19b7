"""Settings of methods, treatments and the gate, given as keyword arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from pydantic import ValidationError

from repair_pipeline.errors import InputError
from repair_pipeline.types import LabelForm

T = TypeVar("T")


def name_of(instance: object, makers: Mapping[str, Callable[[], object]]) -> str:
    """The catalogue name of an instance.

    That is the first entry that makes an equal instance, or else the first entry of the same class, or else the name of
    the class. The name selects the random stream, so an instance gives the same numbers as its name.

    Args:
        instance: an influence method or a treatment.
        makers: the catalogue: a function that makes the default instance, by name.
    """
    defaults = {name: make() for name, make in makers.items()}
    names = [name for name, default in defaults.items() if default == instance]
    names += [name for name, default in defaults.items() if type(default) is type(instance)]
    return names[0] if names else type(instance).__name__


def configured(name: str, make: Callable[..., T], settings: Mapping[str, Any]) -> T:
    """``make`` called with ``settings``.

    Args:
        name: for messages.
        make: a class or function whose settings all have a default.
        settings: by name.

    Raises:
        InputError: a setting is unknown, or its value is not valid.
    """
    try:
        return make(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if first["type"] == "unexpected_keyword_argument":
            default: Any = make()
            known = ", ".join(field.name for field in fields(default)) or "none"
            raise InputError(f"{name} has no setting {where!r}: it has {known}") from error
        what = first["msg"].removeprefix("Value error, ")
        raise InputError(
            f"{name}: {where or 'its settings'}: {what[0].lower()}{what[1:]} (got {first['input']!r})"
        ) from error


def require_task(form: LabelForm, name: str, needs_classes: bool, suggests: bool) -> None:
    """Check that a method or treatment goes with what a label is, as a case file does.

    Args:
        form: what a label is.
        name: of the method or treatment.
        needs_classes: whether it needs one class a row.
        suggests: whether it asks models for another label of a row.

    Raises:
        InputError: it does not.
    """
    if needs_classes and form is not LabelForm.CLASS:
        raise InputError(f"{name} needs one class for each row, but a label is a {form.value}: choose another")
    if suggests and not form.corrects:
        raise InputError(
            f"{name} asks models for another label of a row, but a label is a {form.value}: choose one that drops rows"
        )


def require_no_settings(instance: object, settings: Mapping[str, Any]) -> None:
    """Check that no settings are given together with an instance, which has its own.

    Raises:
        InputError: there are some.
    """
    if settings:
        raise InputError(
            f"{', '.join(settings)} is given together with an instance of {type(instance).__name__}: "
            "set it on the instance, or give the name instead of the instance"
        )
