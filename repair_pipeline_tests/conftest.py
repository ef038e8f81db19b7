"""What every test stands on: shapes are checked, runs repeat, MNIST is counted."""

import gc
from dataclasses import replace

import pytest
import torch
from hypothesis import settings
from jaxtyping import install_import_hook

import repair_pipeline_tests.typechecking

install_import_hook(repair_pipeline_tests.typechecking.SCIENCE, "repair_pipeline_tests.typechecking.checked")

# After the hook, which must see every import of the package.
from repair_pipeline.problem.task import RepairTask  # noqa: E402
from repair_pipeline.storage.layout import data_dir  # noqa: E402
from repair_pipeline_tests.problems import repair_task  # noqa: E402

torch.set_num_threads(1)

# Derandomised, so that a red test is red for everybody; no database, so that a run writes nothing into the checkout.
settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what reads MNIST where there is none: tests never download."""
    raw = data_dir() / "MNIST" / "raw"
    if not raw.is_dir():
        absent = pytest.mark.skip(reason=f"no {raw}: set REPAIR_DATA_DIR to a folder that holds MNIST/raw")
        for item in items:
            if item.get_closest_marker("mnist"):
                item.add_marker(absent)


def pytest_collection_finish() -> None:
    """Leave what is imported out of garbage collection: kronfluence collects ten times a call, a second each."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Leave nothing uncollected, or extension modules report leaks."""
    gc.unfreeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many MNIST tests ran, so that a green run without data does not pass for one with."""

    def count(*outcomes: str) -> int:
        reports = [report for outcome in outcomes for report in terminalreporter.stats.get(outcome, [])]
        return sum("mnist" in getattr(report, "keywords", {}) for report in reports)

    ran, skipped = count("passed", "failed", "error"), count("skipped")
    where = f" (no MNIST/raw in {data_dir()}; set REPAIR_DATA_DIR)" if skipped else ""
    terminalreporter.write_line(f"MNIST tests: {ran} ran, {skipped} skipped{where}")


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def _trained_task() -> RepairTask:
    return repair_task()


@pytest.fixture
def task(_trained_task: RepairTask, generator: torch.Generator) -> RepairTask:
    """A trained network with failures, its random stream at the start."""
    return replace(_trained_task, generator=generator)
