"""Asset checks: invariants of the results of a step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dagster as dg
import numpy as np
import torch

from repair_pipeline.cases.corruption import InstanceNoiseSpec
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.types import TrainingRows

SUCCEEDED = "succeeded"
"""The name of the check that reports the failure of a method, which does not fail the run."""


@dataclass(frozen=True)
class Check:
    """An invariant of a step's results."""

    name: str
    description: str
    problems: Callable[[Case], list[str]]
    """Describes each violation; empty where the invariant holds."""
    blocking: bool = True
    fault: bool = True
    """Whether a violation is an error in the results; False where it is a verdict on them."""

    def spec(self, asset: str) -> dg.AssetCheckSpec:
        """The check as Dagster declares it."""
        return dg.AssetCheckSpec(self.name, asset=asset, description=self.description, blocking=self.blocking)

    def result(self, case: Case) -> dg.AssetCheckResult:
        """The result of the check on a case."""
        problems = self.problems(case)
        return dg.AssetCheckResult(check_name=self.name, passed=not problems, description="; ".join(problems) or None)


def checks(step: Step) -> list[Check]:
    """The checks of a step's asset."""
    checks = []
    if step.isolated:
        checks.append(Check(SUCCEEDED, "the method ran without an error", lambda case: [], blocking=False))
    if step.kind == "influence":
        description = "every fit row has exactly one score, and it is finite"
        checks.append(Check("finite_scores", description, partial(score_problems, method=step.entry)))
        description = "the solver of the method's linear system, if it has one, converged"
        checks.append(Check("converged", description, partial(solver_problems, method=step.entry), blocking=False))
    match step.name:
        case "corrupted_dataset":
            description = "round(rate × n) rows of each class are corrupted, into the classes that the case names"
            checks.append(Check("planted_exactly", description, corruption_problems))
        case "failure_partition":
            description = "every example has exactly one split"
            checks.append(Check("splits_disjoint_and_covering", description, split_problems))
        case "tracked_run":
            description = "the gate, if the case has one, accepts the repair; otherwise no candidate is registered"
            checks.append(Check("accepted_by_the_gate", description, gate_problems, fault=False))
        case "evaluation":
            description = "all results that the case names exist"
            checks.append(Check("complete", description, missing_results, blocking=False))
    return checks


def missing_results(case: Case) -> list[str]:
    """Results that the case names and that do not exist."""
    return [f"missing: {name}" for name in missing(case)]


def corruption_problems(case: Case) -> list[str]:
    """Numbers of corrupted rows, in each class or in all, and labels of these that are not as specified."""
    fit, validation = case.data.fit, case.data.validation
    return [*_corruption_problems(case, "fit", [fit]), *_corruption_problems(case, "training", [fit, validation])]


def _corruption_problems(case: Case, name: str, parts: list[TrainingRows]) -> list[str]:
    noise, problems = case.spec.corruption, []
    given = torch.cat([rows.examples.labels for rows in parts])
    clean = torch.cat([rows.clean_labels for rows in parts])
    corrupted = torch.cat([rows.corrupted for rows in parts])
    if isinstance(noise, InstanceNoiseSpec):
        if (planted := int(corrupted.sum())) != (expected := round(noise.rate * len(clean))):
            problems.append(f"{planted} {name} rows are corrupted, expected {expected}")
        if mismarked := int((corrupted != (given != clean)).sum()):
            problems.append(f"{mismarked} {name} rows are corrupted but labelled right, or the reverse")
        return problems
    for label in clean.unique().tolist():
        in_class = clean == label
        expected = round(noise.rate * int(in_class.sum())) if noise and label in noise.targeted else 0
        planted = int((in_class & corrupted).sum())
        if planted != expected:
            problems.append(f"{planted} {name} rows of class {label} are corrupted, expected {expected}")
        targets = noise.targeted.get(label) if noise else None
        if targets is not None and (strays := set(given[in_class & corrupted].tolist()) - targets):
            problems.append(
                f"corrupted {name} rows of class {label} are labelled {sorted(strays)}, expected {sorted(targets)}"
            )
        if changed := int((in_class & ~corrupted & (given != clean)).sum()):
            problems.append(f"{changed} {name} rows of class {label} are relabelled but not marked as corrupted")
    return problems


def split_problems(case: Case) -> list[str]:
    """Examples that have no split, or several, or one that belongs to other examples."""
    table, _ = read_parquet(case.partition_path)
    data = case.data
    parts = {"fit": data.fit.examples, "validation": data.validation.examples}
    expected = Counter((example_id, name) for name, part in parts.items() for example_id in part.ids.tolist())
    expected += Counter((example_id, "test") for example_id in data.test.ids.tolist())
    splits = zip(table["example_id"].to_pylist(), table["split"].to_pylist(), strict=True)
    actual = Counter((example_id, split if split in parts else "test") for example_id, split in splits)
    problems = []
    if absent := expected - actual:
        problems.append(f"{len(absent)} rows have no split, the first is {min(absent)}")
    if extra := actual - expected:
        problems.append(f"{len(extra)} rows have several splits or are not in the data, the first is {min(extra)}")
    return problems


def gate_problems(case: Case) -> list[str]:
    """The reasons why the gate accepts no repair; empty where it accepts one, or where the case has no gate."""
    verdicts = gate_verdicts(case)
    if case.spec.gate is None or any(row["verdict"] == "accepted" for row in verdicts):
        return []
    return [f"{row['failure_group']}: {row['verdict']}: {row['reason']}" for row in verdicts] or ["nothing was judged"]


def solver_problems(case: Case, method: str) -> list[str]:
    """Linear systems whose residual is too large for the solution to be used."""
    notes = [read_parquet(view.influence_path(method))[1] for view in case.views]
    return [
        f"the residual is {solved['residual']:.2g}: raise influence.{method}.damping"
        for solved in notes
        if not solved.get("converged", 1.0)
    ]


def score_problems(case: Case, method: str) -> list[str]:
    """Fit rows without a score, or with a score that is not finite."""
    return [problem for view in case.views for problem in _score_problems(view, method)]


def _score_problems(view: GroupView, method: str) -> list[str]:
    table, _ = read_parquet(view.influence_path(method))
    ids, values = table["example_id"].to_pylist(), table["influence"].to_numpy()
    problems = []
    if bad := int((~np.isfinite(values)).sum()):
        problems.append(f"{bad} of {len(values)} scores are not finite")
    if Counter(ids) != Counter(view.data.fit.examples.ids.tolist()):
        problems.append(
            f"{len(set(ids))} rows are scored, expected each of {len(view.data.fit.examples)} fit rows once"
        )
    return problems
