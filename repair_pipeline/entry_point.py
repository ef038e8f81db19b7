"""User code referred to as ``package.module:function``."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from repair_pipeline.errors import InputError

_PACKAGE = __name__.split(".")[0]
"""This package, which is never user code."""
_searched: list[str] = []
"""Folders that the last call added to ``sys.path``; the next call removes them."""
_imported: dict[str, tuple[Path, bytes]] = {}
"""Local modules imported so far: their file, and its content at that time."""


def entry_point(key: str, name: str, folder: Path) -> Callable[..., Any]:
    """The callable that ``package.module:function`` names, reloaded if its files have changed.

    Args:
        key: the case key that holds the name, for error messages.
        name: ``package.module:function``.
        folder: searched for the module first, before the current folder and the installed packages.

    Raises:
        InputError: the name has another form, cannot be imported, does not exist, or is not callable.
    """
    module_name, attribute = _parts(key, name)
    sources = _unload_changed(module_name, folder)
    sys.path[:] = [entry for entry in sys.path if entry not in _searched]
    folders = [str(folder), str(Path.cwd())]
    _searched[:] = [entry for entry in folders if entry not in sys.path]
    sys.path[:] = [*dict.fromkeys(folders), *(entry for entry in sys.path if entry not in folders)]
    no_bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # leave no files in the user's folder
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise InputError(
            f"{key} names the module {module_name!r}, but there is no module {error.name!r}: put it next to the case "
            f"file, in {folder}, or install it"
        ) from error
    except Exception as error:
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{key}: importing {module_name!r} fails ({why}): fix the module") from error
    finally:
        sys.dont_write_bytecode = no_bytecode
    _imported.update(sources)
    try:
        function = getattr(module, attribute)
    except AttributeError as error:
        public = ", ".join(name for name in vars(module) if not name.startswith("_")) or "nothing"
        raise InputError(f"{key} names {attribute!r}, but {module_name} has no such name: it has {public}") from error
    if not callable(function):
        raise InputError(f"{key} names {name!r}, a {type(function).__name__}: name a function or a class")
    return function


def source_files(key: str, name: str, folder: Path) -> dict[str, Path]:
    """The source files of ``package.module:function``, by module name: its module and the local modules it imports.

    For an installed module it is that module's own file only.

    Args:
        key: the case key that holds the name, for error messages.
        name: ``package.module:function``.
        folder: searched for the module first, before the current folder.

    Raises:
        InputError: the name has another form.
    """
    module_name, _ = _parts(key, name)
    if local := local_modules(module_name, folder):
        return local
    root = module_name.split(".")[0]
    installed = [entry for entry in sys.path if entry not in _searched]
    if root in _local_packages() and not PathFinder.find_spec(root, installed):
        return {}  # what is loaded under this name is another folder's module
    try:
        spec = importlib.util.find_spec(module_name)
    except Exception:  # find_spec imports the parent packages; an error there is reported when the module is imported
        spec = None
    return {module_name: Path(spec.origin)} if spec and spec.has_location and spec.origin else {}


def imported_modules() -> list[ModuleType]:
    """The user's local modules that are loaded: another process may not find them."""
    return [sys.modules[name] for name in _imported if name in sys.modules]


def _is_installed(package: str) -> bool:
    """Whether a local package that was imported is found at the same file without the folders that were searched."""
    spec = PathFinder.find_spec(package, [entry for entry in sys.path if entry not in _searched])
    return bool(spec and spec.origin and package in _imported and Path(spec.origin) == _imported[package][0])


def _local_packages() -> set[str]:
    return {name.split(".")[0] for name in _imported}


def local_modules(module_name: str, folder: Path) -> dict[str, Path]:
    """The files of a module in ``folder`` or the current folder, and of those it imports from there, by name."""
    modules, pending = dict[str, Path](), [module_name]
    while pending:
        name = pending.pop()
        for part in _with_packages(name):
            if part not in modules and name.split(".")[0] != _PACKAGE:
                file = _file(part, folder) or _file(part, Path.cwd())  # as Python searches them
                if file:
                    modules[part] = file
                    pending += _imports(part, file)
    return modules if module_name in modules else {}


def _parts(key: str, name: str) -> tuple[str, str]:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise InputError(f"{key} is {name!r}: write package.module:function")
    return module_name, attribute


def _with_packages(name: str) -> Iterator[str]:
    """The names of a module's parent packages, outermost first, then the module's own."""
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file(name: str, root: Path) -> Path | None:
    path = root.joinpath(*name.split("."))
    return next((file for file in (path / "__init__.py", path.with_suffix(".py")) if file.is_file()), None)


def _imports(name: str, file: Path) -> list[str]:
    """The names that a module imports; none if it cannot be parsed, which importing it reports."""
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


def _unload_changed(module_name: str, folder: Path) -> dict[str, tuple[Path, bytes]]:
    """Unload local modules whose files have changed, or that were loaded from another folder.

    Returns:
        The local modules by name: the file of each, and its content.
    """
    current = {name: (file, file.read_bytes()) for name, file in local_modules(module_name, folder).items()}
    packages = {name.split(".")[0] for name in (current or [module_name])}
    elsewhere = {name for name in packages & _local_packages() if not _is_installed(name)}
    if all(_imported.get(name, content) == content for name, content in current.items()) and (current or not elsewhere):
        return current
    # Whole packages: a package that is imported again would lack its other modules.
    for name in [*sys.modules, *_imported]:
        if name.split(".")[0] in packages:
            sys.modules.pop(name, None)
            _imported.pop(name, None)
    return current
