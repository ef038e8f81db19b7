"""Stable example ids."""

from collections import Counter
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray


def content_ids(inputs: NDArray[np.generic]) -> NDArray[np.str_]:
    """One id a row: the hash of the raw input's bytes, then ``-`` and its occurrence (exact duplicates are legal).

    Labels and corruption play no part, so a corrupted row keeps the id of the clean row.

    Args:
        inputs: (n, ...) raw inputs, before any preprocessing.
    """
    seen: Counter[str] = Counter()
    ids = []
    for row in np.ascontiguousarray(inputs):
        digest = blake2b(row.tobytes(), digest_size=8).hexdigest()
        ids.append(f"{digest}-{seen[digest]}")
        seen[digest] += 1
    return np.array(ids, dtype=np.str_)
