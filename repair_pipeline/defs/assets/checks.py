"""What must hold of what a step made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dagster as dg
import numpy as np
import torch

from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.types import TrainingRows

SUCCEEDED = "succeeded"
"""The check of a method, whose failure is told in this way because it stops no other."""


@dataclass(frozen=True)
class Check:
    """An invariant, as a function that says what is wrong: nothing where it holds."""

    name: str
    description: str
    wrong: Callable[[Case], list[str]]
    blocking: bool = True
    fault: bool = True
    """Where it does not hold something is broken, and no judgement passed."""

    def spec(self, asset: str) -> dg.AssetCheckSpec:
        """The check as Dagster declares it."""
        return dg.AssetCheckSpec(self.name, asset=asset, description=self.description, blocking=self.blocking)

    def result(self, case: Case) -> dg.AssetCheckResult:
        """The check's verdict on a case."""
        wrong = self.wrong(case)
        return dg.AssetCheckResult(check_name=self.name, passed=not wrong, description="; ".join(wrong) or None)


def checks(step: Step) -> list[Check]:
    """The checks of a step's asset."""
    found = []
    if step.isolated:
        found.append(Check(SUCCEEDED, "the method ran without an error", lambda case: [], blocking=False))
    if step.kind == "influence":
        says = "every fit row has one score, and it is finite"
        found.append(Check("finite_scores", says, partial(scored_wrongly, method=step.entry)))
        says = "the linear system that the scores rest on, if any, is solved"
        found.append(Check("converged", says, partial(unsolved, method=step.entry), blocking=False))
    match step.name:
        case "corrupted_dataset":
            says = "round(rate × n) rows of each class are corrupted, into the classes that the case names"
            found.append(Check("planted_exactly", says, planted_wrongly))
        case "failure_partition":
            says = "every example has exactly one split"
            found.append(Check("splits_disjoint_and_covering", says, split_wrongly))
        case "tracked_run":
            says = "the gate accepts the repair, where the case has a gate: else no model becomes a candidate"
            found.append(Check("accepted_by_the_gate", says, not_accepted, fault=False))
        case "evaluation":
            says = "all that the case names is there"
            found.append(Check("complete", says, lambda case: [f"missing: {name}" for name in missing(case)], False))
    return found


def planted_wrongly(case: Case) -> list[str]:
    """Classes in which the number of corrupted rows, or their labels, are not as specified."""
    fit, validation = case.data.fit, case.data.validation
    return [*_planted_wrongly(case, "fit", [fit]), *_planted_wrongly(case, "training", [fit, validation])]


def _planted_wrongly(case: Case, where: str, parts: list[TrainingRows]) -> list[str]:
    noise, wrong = case.spec.corruption, []
    given = torch.cat([rows.examples.labels for rows in parts])
    clean = torch.cat([rows.clean_labels for rows in parts])
    corrupted = torch.cat([rows.corrupted for rows in parts])
    for label in clean.unique().tolist():
        of_class = clean == label
        due = round(noise.rate * int(of_class.sum())) if noise and label in noise.targeted else 0
        planted = int((of_class & corrupted).sum())
        if planted != due:
            wrong.append(f"{planted} {where} rows of class {label} are corrupted, {due} are due")
        targets = noise.targeted.get(label) if noise else None
        if targets is not None and (strays := set(given[of_class & corrupted].tolist()) - targets):
            wrong.append(
                f"corrupted {where} rows of class {label} are labelled {sorted(strays)}, not {sorted(targets)}"
            )
        if changed := int((of_class & ~corrupted & (given != clean)).sum()):
            wrong.append(f"{changed} {where} rows of class {label} are relabelled and not marked as corrupted")
    return wrong


def split_wrongly(case: Case) -> list[str]:
    """Examples that have no split, several, or one of another part of the data."""
    table, _ = read_parquet(case.partition_path)
    data = case.data
    parts = {"fit": data.fit.examples, "validation": data.validation.examples}
    due = Counter((example_id, name) for name, part in parts.items() for example_id in part.ids.tolist())
    due += Counter((example_id, "test") for example_id in data.test.ids.tolist())
    splits = zip(table["example_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    found = Counter((example_id, split if split in parts else "test") for example_id, split in splits)
    wrong = [f"{len(absent)} rows have no split, {min(absent)} the first" for absent in [due - found] if absent]
    wrong += [
        f"{len(extra)} rows have more than one split or are strangers, {min(extra)} the first"
        for extra in [found - due]
        if extra
    ]
    return wrong


def not_accepted(case: Case) -> list[str]:
    """Why the gate accepts no repair; nothing where it does, or where the case has none."""
    verdicts = gate_verdicts(case)
    if case.spec.gate is None or any(row["verdict"] == "accepted" for row in verdicts):
        return []
    return [f"{row['failure_group']}: {row['verdict']}: {row['reason']}" for row in verdicts] or ["nothing was judged"]


def unsolved(case: Case, method: str) -> list[str]:
    """A linear system whose residual is too large for its solution to count as one."""
    said = [read_parquet(look.influence_path(method))[1] for look in case.views]
    return [
        f"the residual is {notes['residual']:.2g}: raise influence.{method}.damping"
        for notes in said
        if not notes.get("converged", 1.0)
    ]


def scored_wrongly(case: Case, method: str) -> list[str]:
    """Fit rows without a score, or with one that is not finite."""
    return [line for look in case.views for line in _scored_wrongly(look, method)]


def _scored_wrongly(view: GroupView, method: str) -> list[str]:
    table, _ = read_parquet(view.influence_path(method))
    ids, values = table["example_id"].to_pylist(), table["influence"].to_numpy()
    wrong = []
    if bad := int((~np.isfinite(values)).sum()):
        wrong.append(f"{bad} of {len(values)} scores are not finite")
    if Counter(ids) != Counter(view.data.fit.examples.ids.tolist()):
        wrong.append(f"{len(set(ids))} rows are scored, {len(view.data.fit.examples)} fit rows are due, each once")
    return wrong
