"""Stable example ids."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repair_pipeline.named_tensors import Batch, tensors_of


def content_ids(inputs: NDArray[np.generic]) -> NDArray[np.str_]:
    """One id per row: the hash of the raw input's bytes, ``-`` and an occurrence number, as duplicates are allowed.

    Labels and corruption are not hashed, so a corrupted row keeps the id of the clean row.

    Args:
        inputs: (n, ...) raw inputs, before any preprocessing.
    """
    return numbered(digest(row.tobytes()) for row in np.ascontiguousarray(inputs))


def input_digests(inputs: Batch) -> list[str]:
    """A hash of each prepared input, independent of ids and sources.

    Args:
        inputs: (n, ...) of any dtype.
    """
    rows = zip(*(part.cpu() for part in tensors_of(inputs).values()), strict=True)
    return [digest(b"".join(map(_bytes, row))) for row in rows]


def _bytes(row: Tensor) -> bytes:
    return row.contiguous().view(-1).view(torch.uint8).numpy().tobytes()


def digest(content: bytes) -> str:
    """A BLAKE2b hash of ``content``: 16 hex digits."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def file_digest(file: Path) -> str:
    """A BLAKE2b hash of the content of ``file``: 32 hex digits."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def numbered(digests: Iterable[str]) -> NDArray[np.str_]:
    """Each digest followed by ``-`` and the number of its earlier occurrences."""
    counts: Counter[str] = Counter()
    ids = []
    for name in digests:
        ids.append(f"{name}-{counts[name]}")
        counts[name] += 1
    return np.array(ids, dtype=np.str_)
