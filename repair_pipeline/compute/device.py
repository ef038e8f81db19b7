"""Devices and threads of computations."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from repair_pipeline.errors import InputError

DeviceName = Literal["auto", "cpu", "cuda"]


def resolve_device(name: DeviceName) -> torch.device:
    """The torch device; ``auto`` is the GPU if there is one, else the CPU.

    Raises:
        InputError: ``cuda`` was requested but torch finds no GPU.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("device is 'cuda', but torch finds no GPU: use 'auto' or 'cpu'")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Run with ``count`` intra-op threads, then restore: the same count gives identical bits on the same machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
