"""Packages of the optional extras, imported when they are used."""

import importlib
from types import ModuleType

from repair_pipeline.errors import InputError


def package(name: str, extra: str, what: str) -> ModuleType:
    """Import a package of an extra.

    Args:
        name: the package or a module of it.
        extra: the extra of this project that installs it.
        what: what needs it, for the message.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        raise InputError(
            f"{what} needs {name}, but {missing.name} is not installed: pip install 'repair_pipeline[{extra}]'"
        ) from missing
