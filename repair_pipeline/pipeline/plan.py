"""What a run of a case would make, and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import NOT_MADE
from repair_pipeline.pipeline.inputs import shown
from repair_pipeline.pipeline.steps import STEPS, Step
from repair_pipeline.storage.views import query


@dataclass(frozen=True)
class Planned:
    """A step of a case, before it is run."""

    step: Step
    files: int
    stale: int
    """How many of its files are to be made."""
    why: str
    """Every reason once, the most frequent first; empty where all of it is finished."""


def plan(case: Case) -> list[Planned]:
    """Every step that the case names, in order. What follows a step that is to be made is to be made too."""
    found, of_step = list[Planned](), dict[Path, str]()
    for step in STEPS:
        reasons = Counter[str]()
        files = step.files(case)
        for file in files:
            why = file.stale(case, step.version)
            before = [of_step[source] for source in (*file.sources, *file.optional) if source in of_step]
            if before and why != NOT_MADE:
                why = f"{before[0]} is made again"
            if why:
                reasons[why] += 1
                of_step[file.path] = step.name
        if files:
            found.append(Planned(step, len(files), reasons.total(), "; ".join(why for why, _ in reasons.most_common())))
    return found


def staleness(case: Case) -> str | None:
    """The first reason why a stored case is not finished any more; None where it is."""
    return next((planned.why for planned in plan(case) if planned.stale), None)


def changed_since(case: Case) -> str | None:
    """What differs in a new case from the last one of its name and folder; None where there is none."""
    if case.record is not None or case.spec.folder is None:
        return None
    rows = query(case.layout, "SELECT case_id, spec FROM cases ORDER BY created_at DESC").to_pylist()
    for row in rows:
        before = parse_spec(json.loads(row["spec"]))
        if (before.name, before.folder) == (case.spec.name, case.spec.folder):
            ours, theirs = case.spec.inputs or {}, before.inputs or {}
            keys = [key for key in sorted(ours.keys() | theirs.keys()) if ours.get(key) != theirs.get(key)]
            names = dict.fromkeys(shown(case.spec if key in ours else before, key) for key in keys)
            return f"{' and '.join(names) or 'a setting'} changed since {row['case_id']}"
    return None
