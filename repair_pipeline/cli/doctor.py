"""``repair doctor``."""

from __future__ import annotations

import platform
from importlib.metadata import version

import torch
from rich.table import Table

from repair_pipeline.cli.console import plain_console
from repair_pipeline.defs.partitions import dagster_instance
from repair_pipeline.defs.slots import free_slots, stuck_slots
from repair_pipeline.settings import Settings, origins, read_settings
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.store import UnansweredError, masked, registry_uri, require_answering, tracking_uri

_PACKAGES = ("repair_pipeline", "dagster", "mlflow", "torch", "torchvision", "pyarrow", "duckdb", "numpy")


def examine(free: str | None) -> None:
    """Print what a bug report needs, and the pool slots that ended runs still hold.

    Args:
        free: a run whose slots are freed first.

    Raises:
        InputError: a setting is not valid.
    """
    settings = read_settings()
    layout = Layout(settings.home)
    instance = dagster_instance(layout)
    if free is not None:
        free_slots(instance, free)
    table = Table("name", "value", show_header=False)
    table.add_row("python", platform.python_version())
    for package in _PACKAGES:
        table.add_row(package, version(package))
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none: heavy steps run on the CPU"
    table.add_row("GPU", gpu)
    stuck = stuck_slots(instance)
    table.add_row("stuck slots", ", ".join(stuck) or "none")
    unanswered = _add_stores(table, layout)
    console = plain_console()
    console.print(table)
    console.print(_settings(settings))
    if unanswered:
        console.print(unanswered, soft_wrap=True)
    for run_id in stuck:
        console.print(f"to free them: repair doctor --free {run_id}", soft_wrap=True)


def _add_stores(table: Table, layout: Layout) -> str:
    """Add where runs and models are kept; returns what is wrong with it."""
    table.add_row("MLflow runs", masked(tracking_uri(layout)))
    table.add_row("MLflow models", masked(registry_uri(layout)))
    try:
        require_answering(layout)
    except UnansweredError as error:
        return str(error)
    return ""


def _settings(settings: Settings) -> Table:
    table, sources = Table("setting", "value", "from"), origins()
    for name, value in settings:
        table.add_row(name, masked(str(value)), sources[name])  # a command may hold a webhook's address
    return table
