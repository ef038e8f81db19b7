"""From what a user types to a case."""

from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.compute.device import DeviceName, resolve_device
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.elsewhere import can_judge
from repair_pipeline.pipeline.inputs import opened, require_unchanged
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.storage.layout import Layout, data_dir
from repair_pipeline.tracking.runs import Tracked


def open_case(source: str, settings: list[str], device: DeviceName) -> Case:
    """A preset, a stored case or a case file, with settings changed.

    Raises:
        InputError: there is no such case, a setting is not valid, or a stored case's files are not what they were.
    """
    layout = Layout.current()
    if source.endswith((".yaml", ".yml")):
        return _case(load_spec(source), settings, device)
    spec = stored_spec(layout, source)
    if not settings:
        require_runnable(Case(spec, layout, data_dir(), resolve_device(device)))
        require_unchanged(spec, layout)
    return _case(spec, settings, device)


def open_stored_case(source: str, device: DeviceName) -> Case:
    """A case whose rows are read: a stored one is taken as it lies in the store, whatever its data hold by now.

    Raises:
        InputError: there is no such case, its model's code is not what it was, or it is yet to be run and cannot be.
    """
    if not source.endswith((".yaml", ".yml")):
        layout = Layout.current()
        case = Case(stored_spec(layout, source), layout, data_dir(), resolve_device(device))
        if can_judge(case):
            require_unchanged(case.spec, layout, ("model.factory",))
            return case
    return open_case(source, [], device)


def open_tracked_case(run: Tracked, settings: list[str], device: DeviceName) -> Case:
    """The case of an MLflow run, with settings changed.

    Raises:
        InputError: its spec is not one that this version can read, or a setting is not valid.
    """
    return _case(parse_spec(run.spec), settings, device)


def _case(spec: CaseSpec, settings: list[str], device: DeviceName) -> Case:
    layout = Layout.current()
    return Case(opened(with_settings(spec, settings), layout), layout, data_dir(), resolve_device(device))
