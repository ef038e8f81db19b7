"""Asset checks: invariants of an asset's results."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import dagster as dg
import numpy as np
import pyarrow as pa
import torch

from repair_pipeline.cases.corruption import InstanceNoiseSpec
from repair_pipeline.defs.assets.lineage import Asset
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.evaluation import missing
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.storage.files import Notes, read_parquet
from repair_pipeline.types import TrainingRows

ACCEPTED = "accepted_by_the_gate"
"""The check that is the gate's verdict: a warning, since the run of a repair that is not accepted has succeeded."""
SUCCEEDED = "succeeded"
"""The check that names methods and treatments that failed. The others go on, and so does the run."""


@dataclass(frozen=True)
class Check:
    """An invariant of an asset's results."""

    name: str
    description: str
    problems: Callable[[Case], list[str]]
    """Describes each violation; empty where the invariant holds."""
    blocking: bool = True
    """Whether what follows is not run where it is violated."""
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR

    def spec(self, asset: str) -> dg.AssetCheckSpec:
        """The check as Dagster declares it."""
        return dg.AssetCheckSpec(self.name, asset=asset, description=self.description, blocking=self.blocking)


def checked(asset: Asset, case: Case, failed: Mapping[str, Exception]) -> list[tuple[Check, dg.AssetCheckResult]]:
    """The checks of an asset with their results on a case.

    Args:
        asset: the asset.
        case: the case.
        failed: errors of its steps, by the step's name.
    """
    results = []
    for check in checks(asset):
        problems, traces = check.problems(case), dict[str, dg.MetadataValue]()
        if check.name == SUCCEEDED:
            problems = [f"{name}: {type(error).__name__}: {error}" for name, error in failed.items()]
            traces = {name: _trace(error) for name, error in failed.items()}
        result = dg.AssetCheckResult(
            asset_key=asset.name,
            check_name=check.name,
            passed=not problems,
            severity=check.severity,
            description="; ".join(problems) or None,
            metadata=traces,
        )
        results.append((check, result))
    return results


def _trace(error: Exception) -> dg.MetadataValue:
    return dg.MetadataValue.md(f"```\n{''.join(traceback.format_exception(error))}\n```")


def checks(asset: Asset) -> list[Check]:
    """The checks of an asset."""
    succeeded = Check(SUCCEEDED, "no method or treatment of the case failed", lambda case: [], blocking=False)
    match asset.name:
        case "corrupted_dataset":
            description = "round(rate × n) rows of each class are corrupted, into the classes that the case names"
            return [Check("planted_exactly", description, corruption_problems)]
        case "failure_partition":
            description = "every example has exactly one split"
            return [Check("splits_disjoint_and_covering", description, split_problems)]
        case "influence":
            finite = "by every method, every fit row has exactly one score, and it is finite"
            converged = "the solvers of the methods' linear systems, where they have one, converged"
            return [
                succeeded,
                Check("finite_scores", finite, score_problems),
                Check("converged", converged, solver_problems, blocking=False),
            ]
        case "repaired_models":
            return [succeeded]
        case "evaluation":
            return [Check("complete", "all results that the case names exist", missing_results, blocking=False)]
        case "verdict":
            description = "the gate, if the case has one, accepts the repair; otherwise no candidate is registered"
            return [Check(ACCEPTED, description, gate_problems, blocking=False, severity=dg.AssetCheckSeverity.WARN)]
    return []


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
    if clean.dim() == 2:  # nothing is planted where labels have several parts
        changed = int((given != clean).any(dim=1).sum())
        return [f"{changed} {name} rows have other labels than before"] if changed else []
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


def solver_problems(case: Case) -> list[str]:
    """Linear systems whose residual is too large for the solution to be used."""
    return [
        f"{method}: the residual is {notes['residual']:.2g}: raise influence.{method}.damping"
        for method, _, notes, _ in _scored(case)
        if not notes.get("converged", 1.0)
    ]


def score_problems(case: Case) -> list[str]:
    """Fit rows without a score, or with a score that is not finite, by method."""
    return [
        f"{method}: {problem}" for method, table, _, view in _scored(case) for problem in _score_problems(table, view)
    ]


def _scored(case: Case) -> Iterator[tuple[str, pa.Table, Notes, GroupView]]:
    """Every table of scores that exists. A method that failed has none, which the check of that name says."""
    for view in case.views:
        for method in case.spec.influence:
            if (path := view.influence_path(method)).exists():
                yield method, *read_parquet(path), view


def _score_problems(table: pa.Table, view: GroupView) -> list[str]:
    ids, values = table["example_id"].to_pylist(), table["influence"].to_numpy()
    problems = []
    if bad := int((~np.isfinite(values)).sum()):
        problems.append(f"{bad} of {len(values)} scores are not finite")
    if Counter(ids) != Counter(view.data.fit.examples.ids.tolist()):
        problems.append(
            f"{len(set(ids))} rows are scored, expected each of {len(view.data.fit.examples)} fit rows once"
        )
    return problems
