"""Measures the time that a step takes."""

import time
from typing import Any

import torch


class Stopwatch:
    """Starts on creation. Its notes go into a file's metadata, and from there into the table ``timings``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = time.perf_counter()

    def notes(self, **more: Any) -> dict[str, Any]:
        """Seconds so far, device and threads, together with ``more``."""
        seconds = time.perf_counter() - self._started
        return {"seconds": seconds, "device": self._device.type, "threads": torch.get_num_threads(), **more}
