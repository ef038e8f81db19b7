"""Where tensors live and how many cores work on them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from repair_pipeline.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda"]


def resolve_device(name: DeviceName) -> torch.device:
    """``auto`` is the GPU where there is one, else the CPU.

    Raises:
        InputError: ``cuda`` was asked for and torch sees none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda' and torch sees no GPU here: use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with ``count`` intra-op threads, then go back: the same count gives the same bits on the same machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
