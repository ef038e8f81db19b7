"""What files hold, in a few digits: results are known by it, not by where their sources lie or when they changed."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

from repair_pipeline.errors import InputError

_AT_ONCE = 2**20


def content_digest(files: Mapping[str, Path]) -> str:
    """32 hex digits of what files hold, and of what they are called beside each other; where they lie plays no part.

    Args:
        files: each by the name that it has in its folder.

    Raises:
        InputError: one cannot be read.
    """
    whole = blake2b(digest_size=16)
    for name, file in sorted(files.items()):
        of_file = blake2b(digest_size=16)
        try:
            with file.open("rb") as opened:
                while piece := opened.read(_AT_ONCE):
                    of_file.update(piece)
        except OSError as error:
            raise InputError(f"{file} cannot be read ({error.strerror}): give a file that can") from error
        whole.update(name.encode() + b"\0" + of_file.digest())
    return whole.hexdigest()
