"""Where a case stands: one set of rules for the shell, Dagster and studies."""

from __future__ import annotations

from enum import StrEnum

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.steps import Step


class Status(StrEnum):
    """What the column ``status`` of ``cases`` says.

    registered → running → finished or failed; stopped where somebody stopped it; whichever it was, a run begins anew.
    """

    registered = "registered"
    running = "running"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"


def note_made(case: Case, step: Step, whole: bool) -> None:
    """Write down where a case stands when a step has been made.

    Args:
        whole: the run goes on to the evaluation; False: it makes what other cases share.
    """
    if step.name == "corrupted_dataset":
        case.register(Status.running if whole else Status.registered)
    elif step.name in ("evaluation", "tracked_run"):  # a study ends with its tables
        case.register(Status.failed if missing(case) else Status.finished)


def note_failed(case: Case) -> None:
    """Write down that a step failed which others need, or that a run ended with one that did; only what is known."""
    if case.record is not None:
        case.register(Status.failed)
