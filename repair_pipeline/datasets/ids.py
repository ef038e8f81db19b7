"""Stable example ids."""

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def content_ids(inputs: NDArray[np.generic]) -> NDArray[np.str_]:
    """One id a row: the hash of the raw input's bytes, then ``-`` and its occurrence (exact duplicates are legal).

    Labels and corruption play no part, so a corrupted row keeps the id of the clean row.

    Args:
        inputs: (n, ...) raw inputs, before any preprocessing.
    """
    return numbered(digest(row.tobytes()) for row in np.ascontiguousarray(inputs))


def input_digests(inputs: Tensor) -> list[str]:
    """Hashes of inputs as the model reads them, whatever they are called and wherever they come from.

    Args:
        inputs: (n, ...) of any kind.
    """
    return [digest(row.contiguous().view(-1).view(torch.uint8).numpy().tobytes()) for row in inputs.cpu()]


def digest(content: bytes) -> str:
    """16 hex digits."""
    return blake2b(content, digest_size=8).hexdigest()


def numbered(digests: Iterable[str]) -> NDArray[np.str_]:
    """Each digest with its occurrence."""
    seen: Counter[str] = Counter()
    ids = []
    for name in digests:
        ids.append(f"{name}-{seen[name]}")
        seen[name] += 1
    return np.array(ids, dtype=np.str_)
