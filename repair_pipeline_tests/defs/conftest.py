"""Cases that Dagster runs once for all tests, and copies of them for tests that change files."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.workspace.autodiscovery import loadable_targets_from_python_module
from dagster._core.workspace.load import location_origins_from_yaml_paths

from repair_pipeline.cases.presets import case_id, preset
from repair_pipeline.cases.resolve import with_settings
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.defs.assets import ASSETS
from repair_pipeline.defs.partitions import dagster_instance, register_cases
from repair_pipeline.defs.resources import Device, Store
from repair_pipeline.pipeline.case import Case
from repair_pipeline.storage.layout import Layout

ROOT = Path(__file__).parents[2]
AFTERWARDS = dg.AssetSelection.assets("report", "tracked_run", "candidate")
PRESET = "digits-label_noise-s0"
SMALL = with_settings(
    preset(PRESET),
    [
        "dataset.train_size=500",
        "influence={ewc: {}, loss: {}, random: {}}",
        "treatments={base: {}, finetune: {}, learn_guard: {}}",
    ],
)
SMALL_ID = case_id(SMALL)
TINY = parse_spec(
    {
        "name": "tiny",
        "dataset": {"name": "digits", "train_size": 300},
        "training": {"max_epochs": 3},
        "corruption": {"rate": 0.3, "confusion": {1: {7: 1.0}, 7: {1: 1.0}, 3: {8: 1.0}}},
        "causes": {"top": "planted"},
        "influence": {"loss": {}, "random": {}},
        "treat": ["loss"],
        "treatments": {"base": {}, "selective_dampening": {}},  # which trains nothing
    }
)


@dataclass(frozen=True)
class CaseRun:
    """A Dagster run of a case, with the events that its pages show."""

    layout: Layout
    result: dg.ExecuteInProcessResult

    @property
    def materialised(self) -> set[str]:
        return {event.asset_key.to_user_string() for event in self.result.get_asset_materialization_events()}

    @property
    def steps(self) -> list[str]:
        return [event.step_key for event in self.result.all_events if event.is_step_start]

    @property
    def checks(self) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        checks = self.result.get_asset_check_evaluations()
        return {(check.asset_key.to_user_string(), check.check_name): check for check in checks}

    @property
    def failed_checks(self) -> dict[tuple[str, str], dg.AssetCheckEvaluation]:
        return {key: check for key, check in self.checks.items() if not check.passed}

    def materialisation(self, asset: str) -> dg.AssetMaterialization:
        events = self.result.get_asset_materialization_events()
        [event] = [event for event in events if event.asset_key.to_user_string() == asset]
        return event.materialization

    def metadata(self, asset: str) -> dict[str, object]:
        return {key: value.value for key, value in self.materialisation(asset).metadata.items()}


@dataclass(frozen=True)
class Workspace:
    """A store and its Dagster home."""

    layout: Layout
    instance: dg.DagsterInstance

    def make(self, spec: CaseSpec, *assets: str, force: bool = False) -> CaseRun:
        """Materialise ``assets`` of a case (default: up to its verdict); the run may fail."""
        [key] = register_cases(self.instance, self.layout, [spec])
        upto = dg.AssetSelection.assets(*assets) if assets else dg.AssetSelection.all() - AFTERWARDS
        return self.materialise(key, upto, force)

    def materialise(self, key: str, selection: dg.AssetSelection, force: bool = False) -> CaseRun:
        """Materialise assets of a registered case; the run may fail."""
        result = dg.materialize(
            ASSETS,
            selection=selection,
            partition_key=key,
            instance=self.instance,
            resources={"device": Device(name="cpu"), "store": Store(force=force)},
            raise_on_error=False,
        )
        return CaseRun(self.layout, result)

    def case(self, spec: CaseSpec) -> Case:
        """The case, read from the store again."""
        [key] = register_cases(self.instance, self.layout, [spec])
        return Store().case(key, Device(name="cpu").resolve())


@pytest.fixture(autouse=True)
def _retry_without_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dg.RetryPolicy, "calculate_delay", lambda policy, attempt: 0)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """A case that takes seconds, after a run of every asset up to the verdict."""
    layout = Layout(tmp_path_factory.mktemp("tiny"))
    with pytest.MonkeyPatch.context() as patch, dagster_instance(layout) as instance:
        patch.setenv("REPAIR_HOME", str(layout.home))
        [key] = register_cases(instance, layout, [TINY])
        return Workspace(layout, instance).materialise(key, dg.AssetSelection.all() - AFTERWARDS)


@pytest.fixture
def workspace(tiny: CaseRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workspace]:
    """A copy of the tiny case's files and Dagster home, which the test may change."""
    shutil.copytree(tiny.layout.home, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("REPAIR_HOME", str(tmp_path))
    with dagster_instance(Layout(tmp_path)) as instance:
        yield Workspace(Layout(tmp_path), instance)


@pytest.fixture(scope="session")
def definitions() -> dg.Definitions:
    """The definitions that Dagster loads from the workspace file."""
    [origin] = location_origins_from_yaml_paths([str(ROOT / "workspace.yaml")])
    module = origin.loadable_target_origin.module_name
    [target] = loadable_targets_from_python_module(module, working_directory=str(ROOT))
    return target.target_definition


@pytest.fixture(scope="session")
def case_run(definitions: dg.Definitions, tmp_path_factory: pytest.TempPathFactory) -> CaseRun:
    """A reduced preset, from its data to its MLflow run, by the job of the workspace file."""
    layout = Layout(tmp_path_factory.mktemp("preset"))
    with pytest.MonkeyPatch.context() as patch, dagster_instance(layout) as instance:
        patch.setenv("REPAIR_HOME", str(layout.home))
        register_cases(instance, layout, [SMALL])
        job = definitions.resolve_job_def("repair")
        return CaseRun(layout, job.execute_in_process(partition_key=SMALL_ID, instance=instance))
