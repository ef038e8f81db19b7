"""Somebody's own code, by its name."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from repair_pipeline.errors import InputError

_OURS = __name__.split(".")[0]
"""This package, whose code is nobody's own."""
_searched: list[str] = []
"""Folders that the last call put on the path, which the next one takes off."""
_imported: dict[str, tuple[Path, bytes]] = {}
"""Local modules that were imported: from which file, and what it held."""


def entry_point(key: str, name: str, folder: Path) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names, as its files are now.

    Args:
        key: the key of the case that says so, for the message.
        folder: whose modules are found, before those of the current folder and what is installed.

    Raises:
        InputError: it is not of that form, cannot be imported, is not there, or cannot be called.
    """
    module_name, attribute = _parts(key, name)
    sources = _forget_what_changed(module_name, folder)
    sys.path[:] = [where for where in sys.path if where not in _searched]
    wanted = [str(folder), str(Path.cwd())]
    _searched[:] = [where for where in wanted if where not in sys.path]
    sys.path[:] = [*dict.fromkeys(wanted), *(where for where in sys.path if where not in wanted)]
    writes_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a check leaves nothing in her folder
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{key} names the module {module_name!r}, and there is no {error.name!r} here: put it beside the case "
            f"file, into {folder}, or install it"
        ) from error
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{key}: importing {module_name!r} fails ({why}): mend it") from error
    finally:
        sys.dont_write_bytecode = writes_bytecode
    _imported.update(sources)
    try:
        found = getattr(module, attribute)
    except AttributeError as error:
        public = ", ".join(name for name in vars(module) if not name.startswith("_")) or "nothing"
        raise InputError(f"{key} names {attribute!r}, which {module_name} does not hold: it holds {public}") from error
    if not callable(found):
        raise InputError(f"{key} names {name!r}, a {type(found).__name__}: name something that can be called")
    return found


def source_files(key: str, name: str, folder: Path) -> dict[str, Path]:
    """The code behind ``package.module:function``: its module, and the modules beside it that it imports, by name.

    Of what is installed it is the module's own file alone.

    Raises:
        InputError: it is not of that form.
    """
    module_name, _ = _parts(key, name)
    if local := local_modules(module_name, folder):
        return local
    root = module_name.split(".")[0]
    if root in _local_packages() and not PathFinder.find_spec(root, [at for at in sys.path if at not in _searched]):
        return {}  # another folder's module has this name, and is imported
    try:
        spec = importlib.util.find_spec(module_name)
    except Exception:  # it imports the packages that the module is in; what is wrong there, importing it will say
        spec = None
    return {module_name: Path(spec.origin)} if spec and spec.has_location and spec.origin else {}


def _local_packages() -> set[str]:
    return {name.split(".")[0] for name in _imported}


def local_modules(module_name: str, folder: Path) -> dict[str, Path]:
    """A module of ``folder``, or of the current folder, and the modules of the same folder that it imports, by name."""
    for root in (folder, Path.cwd()):
        modules, waiting = dict[str, Path](), [module_name]
        while waiting:
            name = waiting.pop()
            for part in _with_packages(name):
                if part not in modules and name.split(".")[0] != _OURS and (file := _file(part, root)):
                    modules[part] = file
                    waiting += _imports(part, file)
        if module_name in modules:
            return modules
    return {}


def _parts(key: str, name: str) -> tuple[str, str]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{key} is {name!r}: write package.module:function")
    return module_name, attribute


def _with_packages(name: str) -> Iterator[str]:
    """A module's name and before it those of the packages that it is in."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _imports(name: str, file: Path) -> list[str]:
    """Names that a module imports; where it cannot be parsed, none: importing it will say so."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return []
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    names = list[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join(filter(None, [*above, node.module]))
            names += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
    return list(filter(None, names))


def _forget_what_changed(module_name: str, folder: Path) -> dict[str, tuple[Path, bytes]]:
    """Let local modules be imported anew where their files have changed, or where another folder's are loaded.

    Returns:
        The local modules by name: their files, and what these hold.
    """
    now = {name: (file, file.read_bytes()) for name, file in local_modules(module_name, folder).items()}
    packages = {name.split(".")[0] for name in (now or [module_name])}
    if all(_imported.get(name, content) == content for name, content in now.items()) and (
        now or not packages & _local_packages()
    ):
        return now
    # Whole packages: one that is imported anew lacks its other modules.
    for name in [*sys.modules, *_imported]:
        if name.split(".")[0] in packages:
            sys.modules.pop(name, None)
            _imported.pop(name, None)
    return now
