"""Somebody's own code, by its name."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repair_pipeline.errors import InputError


def entry_point(key: str, name: str) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names; modules in the current folder are found too.

    Args:
        key: the key of the case that says so, for the message.

    Raises:
        InputError: it is not of that form, cannot be imported, is not there, or cannot be called.
    """
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(f"{key} is {name!r}: write package.module:function")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a check leaves nothing in her folder
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{key} names the module {module_name!r}, and there is no {error.name!r} here: run in the folder that "
            "holds it, or install it"
        ) from error
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{key}: importing {module_name!r} fails ({why}): mend it") from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    try:
        found = getattr(module, attribute)
    except AttributeError as error:
        public = ", ".join(name for name in vars(module) if not name.startswith("_")) or "nothing"
        raise InputError(f"{key} names {attribute!r}, which {module_name} does not hold: it holds {public}") from error
    if not callable(found):
        raise InputError(f"{key} names {name!r}, a {type(found).__name__}: name something that can be called")
    return found
