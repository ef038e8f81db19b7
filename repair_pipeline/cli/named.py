"""From what a user types to a case."""

from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.compute.device import DeviceName, resolve_device
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.weights import pinned
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.tracking.runs import Tracked


def named_case(source: str, settings: list[str], device: DeviceName) -> Case:
    """A preset, a stored case or a case file, with settings changed.

    Raises:
        InputError: there is no such case, or a setting is not valid.
    """
    in_file = source.endswith((".yaml", ".yml"))
    found = load_spec(source) if in_file else stored_spec(Layout.from_environment(), source)
    return _case(found, settings, device)


def tracked_case(run: Tracked, settings: list[str], device: DeviceName) -> Case:
    """The case of an MLflow run, with settings changed.

    Raises:
        InputError: its spec is not one that this version can read, or a setting is not valid.
    """
    return _case(parse_spec(run.spec), settings, device)


def _case(spec: CaseSpec, settings: list[str], device: DeviceName) -> Case:
    layout = Layout.from_environment()
    return Case(pinned(with_settings(spec, settings), layout), layout, data_dir(), resolve_device(device))
