"""Cases from what a user types on the command line."""

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
    """A case, with some of its fields changed.

    Args:
        source: the name of a preset, the id of a stored case, or the path of a case file.
        settings: fields to change, as ``key=value``.
        device: where heavy steps run.

    Raises:
        InputError: there is no such case, a setting is not valid, or a stored case's files have changed.
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
    """A case whose stored rows are read: a case that has run is opened even if its data files have changed.

    Args:
        source: the name of a preset, the id of a stored case, or the path of a case file.
        device: where heavy steps run.

    Raises:
        InputError: there is no such case, its model's code has changed, or it has not run and cannot be run.
    """
    if not source.endswith((".yaml", ".yml")):
        layout = Layout.current()
        case = Case(stored_spec(layout, source), layout, data_dir(), resolve_device(device))
        if can_judge(case):
            require_unchanged(case.spec, layout, ("model.factory",))
            return case
    return open_case(source, [], device)


def open_tracked_case(run: Tracked, settings: list[str], device: DeviceName) -> Case:
    """The case of an MLflow run, with some of its fields changed.

    Raises:
        InputError: this version cannot read its spec, or a setting is not valid.
    """
    return _case(parse_spec(run.spec), settings, device)


def _case(spec: CaseSpec, settings: list[str], device: DeviceName) -> Case:
    layout = Layout.current()
    return Case(opened(with_settings(spec, settings), layout), layout, data_dir(), resolve_device(device))
