"""The repaired models of a case: one file for each variant of a treatment."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path

from repair_pipeline.cases.grid import Variant, variants
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.causes import causes_of, rankings
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.repair_record import RepairRecord, read_repair_record, search_record
from repair_pipeline.storage.files import write_tensors
from repair_pipeline.storage.records import load_scores
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.candidates import Candidate
from repair_pipeline.treatment.fitness import fitness
from repair_pipeline.treatment.protocol import Penalised, Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes, Progress


def repaired(case: Case, treatment: str) -> list[File]:
    """The files of one treatment: a repaired model for each variant."""
    return [
        File(
            view.model_path(variant),
            (view.fisher_path, view.partition_path, *_read(view, variant)),
            partial(_make, view, variant),
        )
        for view in case.views
        for variant in variants(case.spec, treatment)
    ]


def _make(view: GroupView, variant: Variant, path: Path, progress: Progress) -> None:
    treatment = variant.make()
    if isinstance(treatment, Treatment):
        _treat(view, variant, treatment, path, progress)
    elif isinstance(treatment, Auto):
        _choose(view, variant, treatment, path, progress)


def _treat(view: GroupView, variant: Variant, treatment: Treatment, path: Path, progress: Progress) -> None:
    watch, causes = Stopwatch(view.device), variant_causes(view, variant)
    task = view.task(f"treatment/{variant.treatment}", progress)
    model = treatment.repaired(task, causes)
    record = RepairRecord(
        variant=variant,
        gamma=treatment.used_gamma(task) if isinstance(treatment, Penalised) else None,
        removed=int(task.fit.having(causes.as_set).sum()),
        fitness=fitness(task, model),
        search=None,
        **watch.notes(),
    )
    write_tensors(path, model.state_dict(), asdict(record))


def variant_causes(view: GroupView, variant: Variant) -> Causes:
    """The rows that a variant removes, where it does not search for them."""
    if variant.removes == "planted":
        return Causes(tuple(sorted(view.data.fit.corrupted_ids | view.data.validation.corrupted_ids)))
    own = TREATMENTS[variant.treatment].causes
    return causes_of(view, variant.influence_method, own) if variant.influence_method else Causes(())


def _read(view: GroupView, variant: Variant) -> tuple[Path, ...]:
    """The files that a variant reads: scores, and the model of the narrower search that it continues."""
    if variant.removes == "chosen":
        narrower = _narrower(view, variant)
        scores = tuple(view.influence_path(method) for method in Auto(**variant.settings).methods)
        return (*scores, narrower) if narrower else scores
    if variant.influence_method is None:
        return ()
    entry = TREATMENTS[variant.treatment]
    predicted = [view.out_of_fold_path] if entry.cross_fits else []
    return (*rankings(view, variant.influence_method, entry.causes), *predicted)


def _choose(view: GroupView, variant: Variant, auto: Auto, path: Path, progress: Progress) -> None:
    # One stream for every pool, so that they are judged against the same control.
    watch, task = Stopwatch(view.device), view.task(f"treatment/{variant.treatment}", progress)
    rankings = {method: load_scores(view.influence_path(method), task.fit) for method in auto.methods}
    choice = auto.choose(task, rankings, _settled(view, variant))
    kept = choice.kept
    model = kept.model if kept else task.classifier.module(task.theta_hat)
    record = RepairRecord(
        variant=variant,
        gamma=None,
        removed=len(kept.causes) if kept else 0,
        fitness=kept.fitness if kept else fitness(task, model),
        search=search_record(auto.pool, choice),
        **watch.notes(),
    )
    write_tensors(path, model.state_dict(), asdict(record))


def _narrower(view: GroupView, variant: Variant) -> Path | None:
    """The model of the same search in the pool ``data_only``; None where the case does not run it."""
    settings = {key: each for key, each in variant.settings.items() if key != "pool"}
    found = [
        other for other in variants(view.spec, variant.treatment) if other.settings == settings and other != variant
    ]
    return view.model_path(found[0]) if found else None


def _settled(view: GroupView, variant: Variant) -> Candidate | None:
    """The repair that the search in the pool ``data_only`` chose; None where there is none."""
    path = _narrower(view, variant)
    search = read_repair_record(path).search if path else None
    if path is None or search is None or search.chosen is None:
        return None
    chosen, causes = search.chosen, Causes(search.causes)
    return Candidate(chosen.influence_method, chosen.treatment, causes, chosen.fitness, view.model(path))
