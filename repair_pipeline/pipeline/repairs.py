"""The repaired models of a case: one file a cell of its grid."""

from __future__ import annotations

from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

from repair_pipeline.cases.grid import Cell, cells
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.causes import causes_of, rankings
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
            view.model_path(cell),
            (view.fisher_path, view.partition_path, *_read(view, cell)),
            partial(_make, view, cell),
        )
        for view in case.views
        for cell in cells(case.spec, treatment)
    ]


def _make(view: GroupView, cell: Cell, path: Path, progress: Progress) -> None:
    treatment = cell.make()
    if isinstance(treatment, Auto):
        _choose(view, cell, treatment, path, progress)
    else:
        _treat(view, cell, treatment, path, progress)


def _treat(view: GroupView, cell: Cell, treatment: Treatment, path: Path, progress: Progress) -> None:
    watch, causes = Stopwatch(view.device), cell_causes(view, cell)
    task = view.task(f"treatment/{cell.treatment}", progress)
    model = treatment.repaired(task, causes)
    notes = watch.notes(
        **asdict(cell),
        gamma=treatment.used_gamma(task) if isinstance(treatment, Penalised) else None,
        removed=int(task.fit.having(causes.as_set).sum()),
        fitness=asdict(fitness(task, model)),
    )
    write_tensors(path, model.state_dict(), notes)


def cell_causes(view: GroupView, cell: Cell) -> Causes:
    """What a cell that searches for nothing removes."""
    if cell.removes == "planted":
        return Causes(tuple(sorted(view.data.fit.corrupted_ids | view.data.validation.corrupted_ids)))
    return causes_of(view, cell.influence_method) if cell.influence_method else Causes(())


def _read(view: GroupView, cell: Cell) -> tuple[Path, ...]:
    """The scores that a cell's causes come from, and the model that its search goes on from."""
    if cell.removes == "chosen":
        narrower = _narrower(view, cell)
        scores = tuple(view.influence_path(method) for method in Auto(**cell.settings).methods)
        return (*scores, narrower) if narrower else scores
    if cell.influence_method is None:
        return ()
    return rankings(view, cell.influence_method)


def _choose(view: GroupView, cell: Cell, auto: Auto, path: Path, progress: Progress) -> None:
    # One stream for every pool, so that they are judged against the same control.
    watch, task = Stopwatch(view.device), view.task(f"treatment/{cell.treatment}", progress)
    rankings = {method: load_scores(view.influence_path(method), task.fit) for method in auto.methods}
    choice = auto.choose(task, rankings, _settled(view, cell))
    kept = choice.kept
    model = kept.model if kept else task.classifier.module(task.theta_hat)
    measured = kept.fitness if kept else fitness(task, model)
    notes = watch.notes(
        **asdict(cell),
        gamma=None,
        removed=len(kept.causes) if kept else 0,
        fitness=asdict(measured),
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


def _narrower(view: GroupView, cell: Cell) -> Path | None:
    """The model that the same search chose in the pool ``data_only``, where the case has it made."""
    settings = {key: each for key, each in cell.settings.items() if key != "pool"}
    found = [other for other in cells(view.spec, cell.treatment) if other.settings == settings and other != cell]
    return view.model_path(found[0]) if found else None


def _settled(view: GroupView, cell: Cell) -> Candidate | None:
    path = _narrower(view, cell)
    if path is None or (kept := read_tensor_notes(path)["kept"]) is None:
        return None
    measured = Fitness(*(kept[field.name] for field in fields(Fitness)))
    causes = Causes(tuple(kept["causes"]))
    return Candidate(kept["influence_method"], kept["treatment"], causes, measured, view.model(path))
