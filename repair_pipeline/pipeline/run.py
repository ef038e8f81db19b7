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
"""Entered as a step begins, with the callback of its progress; left as it ends."""


@dataclass(frozen=True)
class Outcome:
    """What a run of a case made, and what failed in it."""

    made: list[Path]
    failed: dict[str, Exception]
    """By step; one method's failure stops no other."""


class StepError(RuntimeError):
    """A step that the rest of the case needs has failed; its cause is the error itself."""


def run_case(case: Case, watch: Watch, force: bool = False, steps: Sequence[Step] = STEPS) -> Outcome:
    """Make what is not finished of a case, in order.

    Raises:
        InputError: the case cannot be used; what this run had written is taken back.
        StepError: a step failed that others need; what was finished is kept and the next run goes on from there.
        KeyboardInterrupt: somebody stopped it; the same holds.
    """
    made: list[Path] = []
    failed: dict[str, Exception] = {}
    known = case.record is not None
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
        take_back(made if known else [*made, case.layout.table("cases", case.id)])
        note_failed(case)
        raise
    except KeyboardInterrupt:
        if made:  # or it waited for another run, which goes on
            case.register(Status.stopped)
        raise
    if failed:
        note_failed(case)
    return Outcome(made, failed)
