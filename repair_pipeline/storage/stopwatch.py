"""How long a file took to make, and on what."""

import time
from typing import Any

import torch


class Stopwatch:
    """Started when made; its notes go into the file's metadata and from there into ``timings``."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._started = time.perf_counter()

    def notes(self, **more: Any) -> dict[str, Any]:
        """Seconds so far, device and threads, and whatever else the file should say."""
        seconds = time.perf_counter() - self._started
        return {"seconds": seconds, "device": self._device.type, "threads": torch.get_num_threads(), **more}
