"""The repaired models of a case: one file a cell of its grid."""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from repair_pipeline.cases.grid import Cell, cells
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import File
from repair_pipeline.storage.files import read_tensor_notes, write_tensors
from repair_pipeline.storage.records import load_scores
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.treatment.auto import Auto, Candidate
from repair_pipeline.treatment.fitness import Fitness, fitness
from repair_pipeline.treatment.protocol import Penalised, Treatment
from repair_pipeline.types import Causes, Progress


def repaired(case: Case, treatment: str) -> list[File]:
    """A model for every cell of one treatment."""
    return [
        File(
            case.model_path(cell),
            (case.fisher_path, case.partition_path, *_read(case, cell)),
            partial(_make, case, cell),
        )
        for cell in cells(case.spec, treatment)
    ]


def _make(case: Case, cell: Cell, path: Path, progress: Progress) -> None:
    treatment = cell.make()
    if isinstance(treatment, Auto):
        _choose(case, cell, treatment, path, progress)
    else:
        _treat(case, cell, treatment, path, progress)


def _treat(case: Case, cell: Cell, treatment: Treatment, path: Path, progress: Progress) -> None:
    watch, causes = Stopwatch(case.device), _causes(case, cell)
    task = case.task(f"treatment/{cell.treatment}", progress)
    model = treatment.repaired(task, causes)
    notes = watch.notes(
        **asdict(cell),
        gamma=treatment.used_gamma(task) if isinstance(treatment, Penalised) else None,
        removed=int(task.fit.having(causes.as_set).sum()),
        fitness=asdict(fitness(task, model)),
    )
    write_tensors(path, model.state_dict(), notes)


def _causes(case: Case, cell: Cell) -> Causes:
    rows = case.data.fit
    match cell.removes:
        case "planted":
            return Causes(tuple(sorted(rows.corrupted_ids | case.data.validation.corrupted_ids)))
        case "causes":
            ranked, counted = (load_scores(path, rows.examples) for path in _read(case, cell))
            return ranked.top(len(case.spec.causes.causes(counted, planted=len(rows.corrupted_ids))))
        case _:
            return Causes(())


def _read(case: Case, cell: Cell) -> tuple[Path, ...]:
    """The files that a cell's causes come from.

    For ``causes`` the scores that rank them, and those that say how many: where a rule counts by the scores, a random
    control removes as many rows as the method that is treated first.
    """
    if cell.removes == "chosen":
        narrower = _narrower(case, cell)
        scores = tuple(case.influence_path(method) for method in Auto(**cell.settings).methods)
        return (*scores, narrower) if narrower else scores
    if cell.influence_method is None:
        return ()
    own = case.influence_path(cell.influence_method)
    follows = cell.influence_method == "random" and case.spec.causes.counts_by_scores
    return own, case.influence_path(case.spec.treat[0]) if follows else own


def _choose(case: Case, cell: Cell, auto: Auto, path: Path, progress: Progress) -> None:
    watch, task = Stopwatch(case.device), case.task(f"treatment/{cell.name}", progress)
    rankings = {method: load_scores(case.influence_path(method), task.fit) for method in auto.methods}
    choice = auto.choose(task, rankings, _settled(case, cell))
    kept = choice.kept
    model = kept.model if kept else task.classifier.module(task.theta_hat)
    notes = watch.notes(
        **asdict(cell),
        gamma=None,
        removed=len(kept.causes) if kept else 0,
        fitness=asdict(fitness(task, model)),
        pool=auto.pool,
        p_value=choice.p_value,
        candidates=[_said(one) | {"chosen": one is kept} for one in choice.tried],
        kept=_said(kept) | {"causes": kept.causes.ids} if kept else None,
    )
    write_tensors(path, model.state_dict(), notes)


def _said(candidate: Candidate) -> dict[str, Any]:
    return {
        "influence_method": candidate.influence_method,
        "treatment": candidate.treatment,
        "removed": len(candidate.causes),
        **asdict(candidate.fitness),
    }


def _narrower(case: Case, cell: Cell) -> Path | None:
    """The model that the same search chose in the pool ``data_only``, where the case has it made."""
    settings = {key: each for key, each in cell.settings.items() if key != "pool"}
    found = [other for other in cells(case.spec, cell.treatment) if other.settings == settings and other != cell]
    return case.model_path(found[0]) if found else None


def _settled(case: Case, cell: Cell) -> Candidate | None:
    path = _narrower(case, cell)
    if path is None or (kept := read_tensor_notes(path)["kept"]) is None:
        return None
    measured = Fitness(*(kept[field.name] for field in fields(Fitness)))
    causes = Causes(tuple(kept["causes"]))
    return Candidate(kept["influence_method"], kept["treatment"], causes, measured, case.model(path))
