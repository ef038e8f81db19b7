"""Running a case from the shell, without Dagster."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import UNRECORDED, take_back
from repair_pipeline.pipeline.standing import require_runnable
from repair_pipeline.pipeline.status import Status, note_failed, note_made
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.room import UnwritableError, unwritable
from repair_pipeline.tracking.store import require_answering
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


class TerminatedError(KeyboardInterrupt):
    """SIGTERM, which stops a run as Ctrl-C does: its status and its MLflow run are closed."""


def run_case(
    case: Case, watch: Watch, force: bool = False, steps: Sequence[Step] = STEPS, whole: bool | None = None
) -> Outcome:
    """Run the steps of a case whose results are missing or stale, in order.

    Args:
        case: the case.
        watch: what to do around each step that is run.
        force: run finished steps too.
        steps: those to run; all by default.
        whole: whether the case goes on to its evaluation; None: whether it is in ``steps``.

    Raises:
        UnwritableError: the disk is full, or a place cannot be written. Finished results are kept.
        InputError: the case cannot be used. The files that this run wrote are removed. Or MLflow's server does not
            answer: nothing is run.
        StepError: a step failed that later steps need. Finished results are kept, and the next run continues from them.
        KeyboardInterrupt: the run was stopped, by Ctrl-C or SIGTERM. Finished results are kept too.
    """
    made: list[Path] = []
    failed: dict[str, Exception] = {}
    before = case.record
    whole = any(step.name == "evaluation" for step in steps) if whole is None else whole
    require_runnable(case)
    if any(step.name == "tracked_run" for step in steps):
        require_answering(case.layout)
    if earlier := sum(why == UNRECORDED for step in steps for why in step.stale(case).values()):
        log.warning("%d results of an earlier version are not used, and kept as .NAME.earlier beside new ones", earlier)
    try:
        with _terminable():
            for step in steps:
                try:
                    if force or step.stale(case):
                        with watch(step) as progress:
                            step.run(case, force, progress, made)
                    note_made(case, step, whole)
                except InputError:
                    raise
                except Exception as error:
                    if place := unwritable(error):  # the other methods would fail there too
                        raise place from error
                    if not step.isolated:
                        note_failed(case)
                        raise StepError(f"{step.name} failed: {error}") from error
                    log.exception("%s failed; the other methods go on", step.name)
                    failed[step.name] = error
    except UnwritableError:
        with suppress(Exception):  # there may be no room for that either
            note_failed(case)
        raise
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


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM stop what is done as Ctrl-C does, unless the program handles it itself. A second one kills."""
    before = signal.getsignal(signal.SIGTERM)
    # Dagster, where it is loaded for a run, makes SIGTERM a Ctrl-C.
    unhandled = before in (signal.SIG_DFL, signal.default_int_handler)
    if not unhandled or threading.current_thread() is not threading.main_thread():
        yield
        return

    came = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal came
        came = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        raise TerminatedError

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except BaseException as error:
        if came and not isinstance(error, TerminatedError):  # a library put its own error in its place
            raise TerminatedError from error
        raise
    else:
        if came:  # a library, or the isolation of a method, has swallowed it
            raise TerminatedError
    finally:
        signal.signal(signal.SIGTERM, before)


def _useless(case: Case, made: Sequence[Path]) -> list[Path]:
    """What a run made of a case that cannot be used: all but a whole base, which other cases can share.

    Once the holdout has been read, nothing is removed: the ledger must say so.
    """
    if case.layout.table("holdout_reads", case.id) in made:
        return []
    base = case.base_model_path.parent if case.base_model_path.exists() else None
    return [path for path in made if path.parent != base] + [case.layout.table("cases", case.id)]
