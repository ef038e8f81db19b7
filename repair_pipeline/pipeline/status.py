"""The status of a case. The shell, Dagster and studies follow these rules."""

from __future__ import annotations

from enum import StrEnum

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.step import Step


class Status(StrEnum):
    """The values of the column ``status`` of ``cases``.

    registered → running → finished, failed or stopped; another run starts at running again. finished → cleared: its
    verdict is kept, and what it was computed from is removed (``retention``).
    """

    registered = "registered"
    running = "running"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"
    cleared = "cleared"


def note_made(case: Case, step: Step, whole: bool) -> None:
    """Update the status after a step has run.

    Args:
        whole: the run includes the evaluation; False: it only makes the files that cases share.
    """
    if step.name == "corrupted_dataset":
        if whole:
            case.register(Status.running)
        elif case.record is None:
            case.register(Status.registered)
    elif step.name in ("evaluation", "tracked_run"):  # a study ends with its tables
        case.register(Status.failed if missing(case) else Status.finished)


def note_failed(case: Case) -> None:
    """Set the status to failed, if the case is registered."""
    if case.record is not None:
        case.register(Status.failed)
