"""Database folders whose paths can be put into a URL."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from repair_pipeline.datasets.ids import digest
from repair_pipeline.errors import InputError
from repair_pipeline.storage.locks import scratch_folder

_SPECIAL = "%?"
"""Characters that have a meaning in a URL."""


def addressable(folder: Path) -> Path:
    """The folder, or a link to it if SQLAlchemy would misread its path in a URL.

    The characters ``%`` (which Jenkins puts into the folders of branches) and ``?`` cannot be quoted: Dagster puts
    paths into URLs unquoted, and MLflow creates a folder with the quoted name.

    Raises:
        InputError: the path of the link has such a character, too.
    """
    if not _has_special_character(folder):
        return folder
    link = scratch_folder() / digest(str(folder).encode())
    if _has_special_character(link):
        raise InputError(f"neither {folder} nor {link} can hold a database, because of % or ? in the path: set TMPDIR")
    folder.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        with tempfile.TemporaryDirectory(dir=link.parent) as scratch:
            (Path(scratch) / "link").symlink_to(folder)
            os.replace(Path(scratch) / "link", link)  # another process may have made it meanwhile
    return link


def _has_special_character(path: Path) -> bool:
    return any(character in str(path) for character in _SPECIAL)
