"""Other people's methods, through their own packages: the optional extra ``peers``.

Settings are validated without the packages; each is imported where its method computes.
"""

import importlib
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
