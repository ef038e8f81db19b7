"""From what a user types to a case."""

from repair_pipeline.cases.resolve import load_spec, with_settings
from repair_pipeline.compute.device import DeviceName, resolve_device
from repair_pipeline.pipeline.case import Case, stored_spec
from repair_pipeline.pipeline.weights import pinned
from repair_pipeline.storage.layout import Layout, data_dir


def named_case(source: str, settings: list[str], device: DeviceName) -> Case:
    """A preset, a stored case or a case file, with settings changed.

    Raises:
        InputError: there is no such case, or a setting is not valid.
    """
    layout = Layout.from_environment()
    found = load_spec(source) if source.endswith((".yaml", ".yml")) else stored_spec(layout, source)
    return Case(pinned(with_settings(found, settings), layout), layout, data_dir(), resolve_device(device))
