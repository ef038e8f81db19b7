"""Resources that configure a run: the device, and whether finished steps run again."""

from __future__ import annotations

import dagster as dg
import torch
from pydantic import Field

from repair_pipeline.compute.device import DeviceName, resolve_device
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.storage.layout import Layout, data_dir


class Device(dg.ConfigurableResource):
    """Where the heavy steps run."""

    name: DeviceName = Field(default="auto", description="auto (the GPU if there is one), cpu or cuda")

    def resolve(self) -> torch.device:
        """The device.

        Raises:
            InputError: ``cuda`` was requested and there is no GPU.
        """
        return resolve_device(self.name)


class Store(dg.ConfigurableResource):
    """The store of cases and their files, by the settings ``home`` and ``data_dir``."""

    force: bool = Field(default=False, description="run finished steps again")

    def case(self, key: str, device: torch.device) -> Case:
        """The case of a partition key.

        Raises:
            InputError: there is no such case.
        """
        layout = Layout.current()
        return Case(stored_spec(layout, key), layout, data_dir(), device)
