"""The next training: the owner's recipe on the data as they are, patched, and in studies with the true labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool

from repair_pipeline.datasets.patching import with_patch
from repair_pipeline.evaluation.next_training import Trainings, judge_patch
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import File
from repair_pipeline.problem.anew import trained_anew
from repair_pipeline.storage.files import read_parquet, write_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.training.fit import right
from repair_pipeline.types import Examples, Progress

AS_IS, PATCHED, TRUE = "as_is", "patched", "true_labels"


def next_trainings(case: Case, trainings: int) -> list[File]:
    """The trained models, and the table ``patch_verdicts`` that they are compared in.

    Args:
        case: the case, whose patch is made.
        trainings: number of trainings on each data set.
    """
    patch = case.layout.table("patch", case.id)
    arms = [AS_IS, PATCHED, *([TRUE] if case.spec.plants else [])]
    models = [
        File(
            _path(case, arm, number),
            (patch, case.base_model_path) if arm == PATCHED else (case.base_model_path,),
            partial(_train, case, arm, number),
        )
        for arm in arms
        for number in range(trainings)
    ]
    table = case.layout.table("patch_verdicts", case.id)
    sources = (patch, case.partition_path, *(file.path for file in models))
    return [*models, File(table, sources, partial(_write_verdict, case, trainings))]


def _path(case: Case, arm: str, number: int) -> Path:
    return case.layout.model(case.id, f"next_training-{arm}-{number}")


def _train(case: Case, arm: str, number: int, path: Path, progress: Progress) -> None:
    watch, rows = Stopwatch(case.device), case.data.fit.examples
    if arm == PATCHED:
        rows = patched_rows(case)
    elif arm == TRUE:
        rows = replace(rows, labels=case.data.fit.clean_labels)
    # The same stream for all data sets, so that trainings of one number differ by the data alone.
    task = case.first_view.task(f"next_training/{number}", progress)
    model = trained_anew(task, rows, task.validation, progress=progress)
    write_tensors(path, model.state_dict(), watch.notes(rows=len(rows)))


def patched_rows(case: Case) -> Examples:
    """The fit rows after the case's patch."""
    return with_patch(case.data.fit.examples, _patch(case), case.data.classes)


def _write_verdict(case: Case, trainings: int, path: Path, progress: Progress) -> None:
    watch, views = Stopwatch(case.device), case.views
    partitions = [view.partition for view in views]
    holdout = Examples.concat([tests.holdout for tests in partitions])
    remaining = partitions[0].remaining  # the same for all groups
    failures = sum(tests.failures for tests in partitions)
    share = failures / (failures + len(partitions[0].guard) + len(remaining))

    def outcomes(arm: str, rows: Examples) -> Bool[np.ndarray, "k n"]:
        return np.stack(
            [right(case.model(_path(case, arm, number)), rows, progress).numpy() for number in range(trainings)]
        )

    verdict = judge_patch(
        Trainings(
            as_is_holdout=outcomes(AS_IS, holdout),
            as_is_remaining=outcomes(AS_IS, remaining),
            patched_holdout=outcomes(PATCHED, holdout),
            patched_remaining=outcomes(PATCHED, remaining),
            share=share,
        )
    )
    true = [outcomes(TRUE, rows).mean() for rows in (holdout, remaining)] if case.spec.plants else None
    actions = list({row["example_id"]: row["action"] for row in _patch(case).to_pylist()}.values())
    row = {
        **asdict(verdict),
        "true_labels": share * true[0] + (1 - share) * true[1] if true else None,
        "dropped": actions.count("drop"),
        "relabelled": actions.count("relabel"),
        "holdout": len(holdout),
        "remaining": len(remaining),
    }
    save_rows(path, "patch_verdicts", [row], watch.notes())


def patch_verdict(layout: Layout, case_id: str) -> Mapping[str, Any] | None:
    """The row of ``patch_verdicts``; None where the patch has not been judged."""
    path = layout.table("patch_verdicts", case_id)
    return read_parquet(path)[0].to_pylist()[0] if path.exists() else None


def _patch(case: Case) -> pa.Table:
    return read_parquet(case.layout.table("patch", case.id))[0]
