"""A small case, run once; tests work on copies of what it left."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.pipeline import steps
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.storage.layout import Layout
from repair_pipeline_tests.pipeline.running import run

TINY = parse_spec(
    {
        "name": "tiny",
        "seed": 1,
        "dataset": {"name": "digits", "train_size": 150},
        "training": {"learning_rate": 0.003, "max_epochs": 12},
        "corruption": {"rate": 0.4, "confusion": {1: {7: 1.0}, 7: {1: 1.0}, 3: {8: 1.0}}},
        "influence": {"ewc": {}, "ewc_paper": {}, "loss": {}, "random": {}, "oracle": {}},
        "causes": {"top": "planted"},
        "treatments": {"base": {}, "finetune": {}, "ewc_deletion": {}, "semi_oracle": {}},
    }
)


@contextmanager
def neither_reported_nor_tracked() -> Iterator[None]:
    """The report and MLflow have tests of their own and take longer than all the rest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "render_report", lambda *args: "report")
        patch.setattr(steps, "case_figures", lambda *args: {})
        patch.setattr(steps, "track", lambda *args: {"experiment_id": "1", "run_id": "1"})
        yield


@pytest.fixture(scope="package", autouse=True)
def _quick() -> Iterator[None]:
    with neither_reported_nor_tracked():
        yield


def case_at(home: Path, spec: CaseSpec = TINY) -> GroupView:
    """A case as its only failure group sees it, or its first."""
    return Case(spec, Layout(home), home / "no-data", torch.device("cpu")).first_view


@pytest.fixture(scope="session")  # a package's would be made again whenever a worker comes back to it
def finished_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("finished")
    with neither_reported_nor_tracked():
        assert run(case_at(home)).failed == {}
    return home


@pytest.fixture
def home(finished_home: Path, tmp_path: Path) -> Path:
    """A copy of the finished case's files, time stamps included."""
    return Path(shutil.copytree(finished_home, tmp_path / "home"))


@pytest.fixture
def case(home: Path) -> GroupView:
    return case_at(home)
