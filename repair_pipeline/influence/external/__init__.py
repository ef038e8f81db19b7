"""Methods computed by external packages: the optional extra ``peers``.

Settings are validated without the packages; each package is imported when its method runs.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from repair_pipeline.extras import package


def peer(name: str) -> ModuleType:
    """Import an external package.

    Raises:
        InputError: it is not installed.
    """
    return package(name, "peers", "this method")


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
