"""The engine that the settings name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from repair_pipeline.compute.engines import LOCAL, Engine, using
from repair_pipeline.settings import read_settings


@contextmanager
def chosen_engine(device: torch.device, local: Engine = LOCAL) -> Iterator[None]:
    """Run what is inside on the engine of the settings; nothing is started before it is needed.

    Args:
        device: where tasks compute; only on a GPU do they reserve one.
        local: what the engine ``local`` is.

    Raises:
        InputError: the engine is not installed, or its cluster does not answer.
    """
    settings = read_settings()
    if settings.engine == "local":
        with using(local):
            yield
        return
    from repair_pipeline.compute.on_ray import ray_engine

    gpus = settings.ray_gpus if device.type == "cuda" else 0.0
    with using(ray_engine(settings.ray_cpus, gpus, settings.ray_retries)):
        yield
