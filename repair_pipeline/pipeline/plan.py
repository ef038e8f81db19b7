"""The plan of a run: which steps would run, and why."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.failures import failure_parts
from repair_pipeline.pipeline.file import NOT_MADE
from repair_pipeline.pipeline.inputs import shown
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.views import query
from repair_pipeline.training.fit import predictions, right
from repair_pipeline.types import Examples, FailureGroup


@dataclass(frozen=True)
class Planned:
    """A step of a case, before it is run."""

    step: Step
    files: int
    stale: int
    """The number of its files that would be made."""
    why: str
    """The distinct reasons, most frequent first; empty where all its files are finished."""


def plan(case: Case) -> list[Planned]:
    """Every step that the case uses, in order. A step that reads a stale file is stale too."""
    steps, of_step = list[Planned](), dict[Path, str]()
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
            steps.append(Planned(step, len(files), reasons.total(), "; ".join(why for why, _ in reasons.most_common())))
    return steps


def staleness(case: Case) -> str | None:
    """The first reason why a stored case is stale; None where it is finished."""
    steps = [step for step in plan(case) if not (step.step.name in _AFTER_TABLES and step.why == NOT_MADE)]
    return next((step.why for step in steps if step.stale), None)


def expected_holdouts(case: Case) -> dict[FailureGroup, Examples]:
    """The failures that a case will be judged on, by group; empty where its base model is not made yet."""
    if case.partition_path.exists():
        return {view.group: view.partition.holdout for view in case.views}
    if not (case.dataset_path.exists() and case.base_model_path.exists()):
        return {}
    model, test = case.model(case.base_model_path), case.data.test
    parts = failure_parts(case.spec, case.data, predictions(model, test), right(model, test))
    return {FailureGroup(name): tests.holdout for name, tests in parts.items()}


_AFTER_TABLES = ("report", "tracked_run", "candidate")
"""Steps that the cases of a study are finished without."""


def changed_since(case: Case) -> str | None:
    """What changed since the last case of the same name and folder; None where there is no such case."""
    if case.record is not None or case.spec.folder is None:
        return None
    rows = query(case.layout, "SELECT case_id, spec FROM cases ORDER BY created_at DESC").to_pylist()
    for row in rows:
        try:
            before = parse_spec(json.loads(row["spec"]))
        except InputError:  # of a plugin that is not installed any more
            continue
        if (before.name, before.folder) == (case.spec.name, case.spec.folder):
            now, then = case.spec.inputs or {}, before.inputs or {}
            keys = [key for key in sorted(now.keys() | then.keys()) if now.get(key) != then.get(key)]
            names = dict.fromkeys(shown(case.spec if key in now else before, key) for key in keys)
            return f"{' and '.join(names) or 'a setting'} changed since {row['case_id']}"
    return None
