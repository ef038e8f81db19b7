"""Changing the owner's training data, and undoing a patch of them whose process was killed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.datasets.applications import read_record, record_path, undo
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.decisions import forget_application
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import locked

log = logging.getLogger(__name__)


@contextmanager
def patching(data: UserData, spec: CaseSpec, layout: Layout) -> Iterator[None]:
    """Change the owner's training data while no other process does. A patch that was cut off is undone before.

    Raises:
        InputError: the folder of the data cannot be written, or a patch that was cut off cannot be undone.
    """
    train = spec.root / data.train
    try:
        with locked(record_path(train).with_name(f"{record_path(train).name}.lock"), train):
            if undone := undo(train):
                log.warning("%s: the patch of %s was cut off, and is undone", data.train, undone.patch)
                if undone.at:
                    forget_application(layout, undone.patch, undone.at)
            yield
    except PermissionError as error:
        raise InputError(f"{train} cannot be patched ({error}): give yourself the right to write there") from error


def undo_interrupted(spec: CaseSpec, layout: Layout) -> None:
    """Undo a patch of the owner's training data whose process was killed. One that is still at work is waited for.

    Raises:
        InputError: as for ``patching``.
    """
    if isinstance(spec.dataset, UserData) and read_record(spec.root / spec.dataset.train).under_way:
        with patching(spec.dataset, spec, layout):
            pass
