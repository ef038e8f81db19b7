"""Other people's methods, through their own packages: the optional extra ``peers``.

Settings are validated without the packages; each is imported where its method computes.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from repair_pipeline.errors import InputError


def peer(package: str) -> ModuleType:
    """The peer's package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as missing:
        raise InputError(
            f"this method computes with {package}, and {missing.name} is not installed: "
            "pip install 'repair_pipeline[peers]'"
        ) from missing


@contextmanager
def own_logging() -> Iterator[None]:
    """What a peer does to the root logger lasts no longer than this: they configure, or silence, everybody's."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
