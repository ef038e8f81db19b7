"""Running a case from the shell, without Dagster."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.types import Progress

log = logging.getLogger(__name__)

Watch = Callable[[Step], Progress]
"""Called as a step begins; gives the callback of its progress."""


@dataclass(frozen=True)
class Outcome:
    """What a run of a case made, and what failed in it."""

    made: list[Path]
    failed: dict[str, Exception]
    """By step; one method's failure stops no other."""


def run_case(case: Case, watch: Watch, force: bool = False) -> Outcome:
    """Make what is not finished of a case, in order.

    Raises:
        InputError: the case cannot be used; what this run had written is taken back.
    """
    made: list[Path] = []
    failed: dict[str, Exception] = {}
    registered = case.record is not None
    try:
        for step in STEPS:
            try:
                made += step.run(case, force, watch(step))
                if step.name == "corrupted_dataset":
                    case.register("running")
            except InputError:
                raise
            except Exception as error:
                if not step.name.startswith(("influence_", "repaired_")):
                    raise
                log.exception("%s failed; the other methods go on", step.name)
                failed[step.name] = error
    except InputError:
        if not registered:
            made.append(case.layout.table("cases", case.id))
        take_back(made)
        raise
    except Exception:
        case.register("failed")
        raise
    case.register("failed" if failed else "finished")
    return Outcome(made, failed)


def take_back(paths: list[Path]) -> None:
    """Remove files that a run wrote before its input proved unusable, and the folders that this empties."""
    for path in paths:
        path.unlink(missing_ok=True)
        for folder in path.parents:
            if not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
