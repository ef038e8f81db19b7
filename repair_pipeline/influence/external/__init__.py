"""Methods computed by external packages: the optional extra ``peers``.

Settings are validated without the packages; each package is imported when its method runs.
"""

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from repair_pipeline.errors import InputError


def peer(package: str) -> ModuleType:
    """Import an external package.

    Raises:
        InputError: it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as missing:
        raise InputError(
            f"this method needs {package}, but {missing.name} is not installed: pip install 'repair_pipeline[peers]'"
        ) from missing


@contextmanager
def own_logging() -> Iterator[None]:
    """Restore the root logger afterwards: external packages configure or silence it."""
    root = logging.root
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
