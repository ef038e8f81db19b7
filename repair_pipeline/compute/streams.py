"""Random streams: every step has its own, derived from the seed and the step's name."""

from zlib import crc32

import numpy as np
import torch


def _sequence(seed: int, step: str) -> np.random.SeedSequence:
    return np.random.SeedSequence([seed, crc32(step.encode())])


def numpy_stream(seed: int, step: str) -> np.random.Generator:
    """The stream SeedSequence(seed, step name), for choosing rows."""
    return np.random.default_rng(_sequence(seed, step))


def torch_stream(seed: int, step: str) -> torch.Generator:
    """The same stream for torch; always on the CPU, so that all devices draw the same batches."""
    return torch.Generator().manual_seed(int(_sequence(seed, step).generate_state(1, np.uint64)[0] >> np.uint64(1)))
