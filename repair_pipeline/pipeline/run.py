"""Running a case from the shell, without Dagster."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import UNRECORDED, take_back
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.pipeline.status import Status, note_failed, note_made
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.types import Progress

log = logging.getLogger(__name__)

Watch = Callable[[Step], AbstractContextManager[Progress]]
"""A context manager around each step, which gives the callback for its progress."""


@dataclass(frozen=True)
class Outcome:
    """The files that a run made, and the steps that failed."""

    made: list[Path]
    failed: dict[str, Exception]
    """Errors by step. A failing method does not stop the others."""


class StepError(RuntimeError):
    """A step that later steps need has failed. ``__cause__`` is the error."""


def run_case(case: Case, watch: Watch, force: bool = False, steps: Sequence[Step] = STEPS) -> Outcome:
    """Run the steps of a case whose results are missing or stale, in order.

    Raises:
        InputError: the case cannot be used. The files that this run wrote are removed.
        StepError: a step failed that later steps need. Finished results are kept, and the next run continues from them.
        KeyboardInterrupt: the run was stopped. Finished results are kept too.
    """
    made: list[Path] = []
    failed: dict[str, Exception] = {}
    before = case.record
    whole = any(step.name == "evaluation" for step in steps)
    require_runnable(case)
    if earlier := sum(why == UNRECORDED for step in steps for why in step.stale(case).values()):
        log.warning("%d results of an earlier version are not used, and kept as .NAME.earlier beside new ones", earlier)
    try:
        for step in steps:
            try:
                if force or step.stale(case):
                    with watch(step) as progress:
                        step.run(case, force, progress, made)
                note_made(case, step, whole)
            except InputError:
                raise
            except Exception as error:
                if not step.isolated:
                    note_failed(case)
                    raise StepError(f"{step.name} failed: {error}") from error
                log.exception("%s failed; the other methods go on", step.name)
                failed[step.name] = error
    except InputError:
        if before is None:
            take_back(_useless(case, made), case.layout)
        note_failed(case)
        raise
    except KeyboardInterrupt:
        waited = not made and before is not None and before["status"] == Status.running  # for a run that goes on
        if case.record is not None and not waited:
            case.register(Status.stopped)
        raise
    if failed:
        note_failed(case)
    return Outcome(made, failed)


def _useless(case: Case, made: Sequence[Path]) -> list[Path]:
    """What a run made of a case that cannot be used: all but a whole base, which other cases can share.

    Once the holdout has been read, nothing is removed: the ledger must say so.
    """
    if case.layout.table("holdout_reads", case.id) in made:
        return []
    base = case.base_model_path.parent if case.base_model_path.exists() else None
    return [path for path in made if path.parent != base] + [case.layout.table("cases", case.id)]
