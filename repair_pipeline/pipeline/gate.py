"""The acceptance gate: judge the repair of a case, and register it where it is accepted."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from repair_pipeline.cases.grid import Variant, variants
from repair_pipeline.cases.sources import Doubt
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.gate import Gate, Outcomes, Verdict, judge
from repair_pipeline.evaluation.judging import Unseen, outcomes
from repair_pipeline.evaluation.selection import selected
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.evaluation import chosen_variants, repairs, searches
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.ledger import earlier_reads
from repair_pipeline.pipeline.repair_record import read_repair_record
from repair_pipeline.pipeline.repairs import variant_causes
from repair_pipeline.pipeline.trusted import trusted
from repair_pipeline.storage.files import read_parquet, tensors_digest, write_tensors, write_text
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.tracking.registry import (
    REPAIRS,
    champion,
    promote,
    publish,
    repairs_version,
    set_candidate,
    set_champion_if_none,
)
from repair_pipeline.tracking.runs import CASE_TAG
from repair_pipeline.treatment.control import control, reseeded
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes, Progress

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Repair:
    """The repair that the gate judges."""

    variant: Variant
    influence_method: str | None
    treatment: str
    causes: Causes

    @property
    def removed(self) -> int:
        """Fit rows removed."""
        return len(self.causes)


def selected_variant(view: GroupView) -> Variant | None:
    """The variant whose repair is judged; None where there is none, or its setting has not been chosen yet."""
    tried = [*variants(view.spec, "auto"), *repairs(view)]
    return selected(tried, lambda variant: variant.treatment, lambda variant: variant in chosen_variants(view))


def repair(view: GroupView) -> Repair | None:
    """The selected repair of the group; None where it has not been made."""
    variant = selected_variant(view)
    if variant is None or not view.model_path(variant).exists():
        return None
    if variant.removes != "chosen":
        return Repair(variant, variant.influence_method, variant.treatment, variant_causes(view, variant))
    search = read_repair_record(view.model_path(variant)).search
    if search is None or search.chosen is None:
        return Repair(variant, None, variant.treatment, Causes(()))
    return Repair(variant, search.chosen.influence_method, search.chosen.treatment, Causes(search.causes))


def compared(view: GroupView) -> list[File]:
    """What the repair is compared by: the same repair from other seeds, and as many controls.

    The controls are the same treatment without as many random rows. The judged model counts as one of the repairs,
    unless it was chosen among several: then its seed is one of the best, and other seeds speak for the repair alone.
    """
    variant, gate = selected_variant(view), view.spec.gate
    if variant is None or gate is None:
        return []
    sources = (view.model_path(variant), view.partition_path)
    paths = _other_seeds(view, variant, gate), _controls(view, gate)
    return [
        File(path, sources, partial(make, view, number))
        for make, of_kind in zip((_write_repair, _write_control), paths, strict=True)
        for number, path in of_kind
    ]


def _chosen_among_several(view: GroupView, variant: Variant) -> bool:
    return (
        variant.removes == "chosen" or len([each for each in repairs(view) if each.treatment == variant.treatment]) > 1
    )


def _other_seeds(view: GroupView, variant: Variant, gate: Gate) -> list[tuple[int, Path]]:
    count = gate.controls if _chosen_among_several(view, variant) else gate.controls - 1
    return [(number, view.named_model_path(f"gate_repair-{number}")) for number in range(count)]


def _controls(view: GroupView, gate: Gate) -> list[tuple[int, Path]]:
    return [(number, view.named_model_path(f"gate_control-{number}")) for number in range(gate.controls)]


def _write_repair(view: GroupView, number: int, path: Path, progress: Progress) -> None:
    watch, (repaired, treatment) = Stopwatch(view.device), _treated(view)
    model = reseeded(number, treatment, repaired.causes, partial(view.task, progress=progress))
    write_tensors(path, model.state_dict(), watch.notes(removed=repaired.removed))


def _write_control(view: GroupView, number: int, path: Path, progress: Progress) -> None:
    watch, (repaired, treatment) = Stopwatch(view.device), _treated(view)
    model = control(number, treatment, repaired.removed, view.spec.seed, partial(view.task, progress=progress))
    write_tensors(path, model.state_dict(), watch.notes(removed=repaired.removed))


def _treated(view: GroupView) -> tuple[Repair, Treatment]:
    """The repair and its treatment; where nothing is removed, there is nothing to judge, and the base model stays."""
    repaired = repair(view)
    assert repaired is not None, "its model is a source of the file"
    settings = {} if repaired.variant.removes == "chosen" or not repaired.removed else repaired.variant.settings
    treatment = TREATMENTS[repaired.treatment if repaired.removed else "base"].treatment(**settings)
    assert isinstance(treatment, Treatment), "a search keeps what one treatment has made"
    return repaired, treatment


def write_verdicts(case: Case, path: Path, progress: Progress) -> None:
    """Write ``verdicts``: those of ``auto`` and of the gate. Reads the holdout, which only the evaluation may."""
    watch, rows = Stopwatch(case.device), list[dict[str, Any]]()
    for view in case.views:
        rows += [
            {
                "failure_group": view.group,
                "judge": "auto",
                "pool": search.pool,
                "verdict": "repaired" if search.chosen else "not_proven",
                "p_value": search.p_value,
            }
            for search in searches(view)
        ]
    for view, repaired, verdict, without_doubtful in _judged(case, progress):
        rows.append(
            {
                "failure_group": view.group,
                "judge": "gate",
                "influence_method": repaired.influence_method,
                "treatment": repaired.treatment,
                "removed": repaired.removed,
                **asdict(verdict),
                "unjudged": ", ".join(verdict.unjudged),
                "without_doubtful": without_doubtful,
            }
        )
    save_rows(path, "verdicts", rows, watch.notes())


def _judged(case: Case, progress: Progress) -> list[tuple[GroupView, Repair, Verdict, str | None]]:
    """For each failure group whose repair and controls have been made: the verdict, and that without doubtful rows.

    The second is None where no unseen row is doubtful, or no others are left.
    """
    gate = case.spec.gate
    if gate is None:
        return []
    made = [
        (view, repaired)
        for view in case.views
        if (repaired := repair(view)) and all(file.path.exists() for file in compared(view))
    ]

    def verdicts(judged: Sequence[tuple[GroupView, Repair, Unseen]]) -> dict[str, Verdict]:
        groups = [_outcomes(view, repaired, gate, rows, progress) for view, repaired, rows in judged]
        decided = judge(gate, groups, case.data.classes, numpy_stream(case.spec.seed, "gate"))
        return {view.group: verdict for (view, _, _), verdict in zip(judged, decided, strict=True)}

    judged_on = [(view, repaired, unseen(view)) for view, repaired in made]
    whole = verdicts(judged_on)
    rest = verdicts(
        [(view, repaired, left) for view, repaired, rows in judged_on if (left := _without_doubtful(view, rows))]
    )
    return [
        (view, repaired, whole[view.group], rest[view.group].verdict if view.group in rest else None)
        for view, repaired in made
    ]


def _without_doubtful(view: GroupView, judged_on: Unseen) -> Unseen | None:
    if not view.layout.table("doubtful_tests", view.id).exists():
        return None
    try:
        rows = unseen(view, leave_out=get_args(Doubt))
    except InputError:
        return None
    fewer = len(rows.holdout) < len(judged_on.holdout) or len(rows.remaining) < len(judged_on.remaining)
    return rows if fewer else None


def _outcomes(view: GroupView, repaired: Repair, gate: Gate, rows: Unseen, progress: Progress) -> Outcomes:
    return outcomes(
        rows,
        view.model(view.model_path(repaired.variant)),
        (view.model(path) for _, path in _other_seeds(view, repaired.variant, gate)),
        (view.model(path) for _, path in _controls(view, gate)),
        removed=repaired.removed,
        relabels=TREATMENTS[repaired.treatment].relabels,
        counts=not _chosen_among_several(view, repaired.variant),
        progress=progress,
    )


def unseen(view: GroupView, reader: str | None = None, leave_out: Collection[str] | None = None) -> Unseen:
    """The unseen rows that the group's verdict is based on.

    Args:
        reader: who is judged on them, as the ledger has it; None: the case's own repair.
        leave_out: reasons in ``doubtful_tests`` for which rows are left out; None: those that the case names.

    Raises:
        InputError: no holdout rows or no remaining rows are left.
    """
    whole, tests = view.partition, trusted(view, (view.spec.leave_out or ()) if leave_out is None else leave_out)
    read, times = earlier_reads(view, reader)
    kept = whole.holdout.having(frozenset(tests.holdout.ids.tolist())).numpy()
    return Unseen(tests.holdout, tests.remaining, tests.failure_share, read[kept], times)


def gate_verdicts(case: Case) -> list[Mapping[str, Any]]:
    """The gate's rows of ``verdicts``, one a failure group; none where it has not judged."""
    path = case.layout.table("verdicts", case.id)
    if case.spec.gate is None or not path.exists():
        return []
    return [row for row in read_parquet(path)[0].to_pylist() if row["judge"] == "gate"]


def accepted(case: Case) -> GroupView | None:
    """The view of the first group whose repair is accepted."""
    groups = [row["failure_group"] for row in gate_verdicts(case) if row["verdict"] == "accepted"]
    return next((view for view in case.views if view.group in groups), None)


def register(view: GroupView, path: Path, progress: Progress) -> None:
    """Publish the accepted model as ``candidate``, and where no champion is yet, the base model as ``champion``."""
    repaired, gate = repair(view), view.spec.gate
    assert repaired is not None
    assert gate is not None
    name, architecture = view.spec.model_name, view.spec.resolved["model"]
    run = json.loads(view.layout.tracked_run(view.id).read_text(encoding="utf-8"))["run_id"]

    def published(weights: Path, which: str) -> int:
        tags = {CASE_TAG: view.id, "repair.failure_group": view.group, "repair.model_is": which}
        if which == "repaired":
            tags[REPAIRS] = tensors_digest(view.base_model_path)
        return publish(view.layout, name, view.model(weights), weights, architecture, view.data.test, run, tags)

    first = set_champion_if_none(view.layout, name, view.id, partial(published, view.base_model_path, "base"))
    version = published(view.model_path(repaired.variant), "repaired")
    set_candidate(view.layout, name, version)
    deployed = champion(view.layout, name)
    if gate.promotion == "automatic" and deployed is not None and deployed.number != version:
        if repairs_version(view.layout, name, version, deployed.number):
            promote(view.layout, name)
        else:
            log.warning("version %d of %s repairs other weights than the champion: it waits for promote", version, name)
    candidate = {"name": name, "version": version, "failure_group": view.group, "first_champion": first}
    write_text(path, json.dumps(candidate))
