"""Folders of databases that others address by a URL."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from repair_pipeline.datasets.ids import digest
from repair_pipeline.errors import InputError
from repair_pipeline.storage.locks import scratch_folder

_MISREAD = "%?"


def addressable(folder: Path) -> Path:
    """The folder, or a link to it where SQLAlchemy would take something in its path for another address.

    Dagster puts paths into URLs as they are, and MLflow makes a folder of a URL that is quoted; so neither can be told
    of ``%`` (which Jenkins writes into the folders of branches) and ``?``.

    Raises:
        InputError: the link could not be addressed either.
    """
    if not _is_misread(folder):
        return folder
    link = scratch_folder() / digest(str(folder).encode())
    if _is_misread(link):
        raise InputError(f"neither {folder} nor {link} can be the address of a database, for % or ?: set TMPDIR")
    folder.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        with tempfile.TemporaryDirectory(dir=link.parent) as beside:
            (Path(beside) / "link").symlink_to(folder)
            os.replace(Path(beside) / "link", link)  # another process may be as far
    return link


def _is_misread(path: Path) -> bool:
    return any(character in str(path) for character in _MISREAD)
