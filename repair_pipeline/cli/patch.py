"""``repair patch``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.open_case import open_stored_case
from repair_pipeline.cli.run import interruptible
from repair_pipeline.cli.verdicts import print_patch_verdict
from repair_pipeline.compute.bars import bar
from repair_pipeline.compute.device import DeviceName
from repair_pipeline.datasets.labels import shown, texts
from repair_pipeline.datasets.patching import apply_patch, require_unapplied, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.next_training import proven_groups
from repair_pipeline.pipeline.case import stored_spec
from repair_pipeline.pipeline.changed_rows import changed_rows
from repair_pipeline.pipeline.decisions import (
    ByExample,
    Choice,
    changes,
    decide,
    edits,
    forget_application,
    read_decisions,
    reviewed,
    save_decisions,
    unfollowed_edits,
)
from repair_pipeline.pipeline.engine import chosen_engine
from repair_pipeline.pipeline.inputs import digests
from repair_pipeline.pipeline.interrupted import patching
from repair_pipeline.pipeline.next_training import next_trainings, patch_verdict
from repair_pipeline.pipeline.step import Step
from repair_pipeline.reporting.descriptions import plain
from repair_pipeline.storage.files import read_parquet
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import Dataset


def apply(key: str, choice: Choice, file: Path | None, dry_run: bool) -> None:
    """Apply what a case's patch suggests where that is proven to help, and what a person decided.

    Rows that the owner has changed since they were judged are left alone.

    Args:
        key: the case.
        choice: which suggestions are applied.
        file: decisions of a person or an annotation tool, which override suggestions. So do edits of ``patch.csv``, and
            over them what was decided in ``repair review``; of these three the file counts first.
        dry_run: whether to print what would change and change nothing.

    Raises:
        InputError: the case has no patch, or nothing proves that it helps; its data cannot be patched; or a decision
            cannot be used.
    """
    layout = Layout.current()
    spec = stored_spec(layout, key)
    source = _user_data(spec)
    if not layout.table("patch", key).exists():
        raise InputError(f"case {key} has no patch yet; to make it: repair run {key}")
    with patching(source, spec, layout):
        _apply(layout, spec, source, key, choice, file, dry_run)


def _apply(
    layout: Layout, spec: CaseSpec, source: UserData, key: str, choice: Choice, file: Path | None, dry_run: bool
) -> None:
    require_unapplied(source, spec.root, key)
    table = read_parquet(layout.table("patch", key))[0]
    form = spec.task.form
    data, patch = read(source, spec.root, form), table.to_pylist()
    gated = _gated(layout, key)
    groups = {row["failure_group"] for row in gated}
    next_training = patch_verdict(layout, key)
    proven = proven_groups(gated, next_training)
    edited = edits(layout, key, patch, groups, data)
    listed = read_decisions(file, groups, data, table["example_id"].to_pylist()) if file else {}
    in_review = reviewed(layout, key)
    by_person = edited | in_review | listed
    changed = changed_rows(spec, layout, key, table, data)
    decided = decide(patch, proven, by_person, choice, data, changed)
    rows = changes(decided, patch)
    if not (len(rows) or proven or by_person):
        raise _not_proven(key, gated, next_training)
    before, at = digests(spec, layout, ["dataset.train"])["dataset.train"], datetime.now(UTC)

    def note() -> None:
        after = digests(spec, layout, ["dataset.train"])["dataset.train"]
        save_decisions(layout, key, decided, patch, before, after, at)

    try:
        dropped, relabelled = (
            apply_patch(source, spec.root, rows, key, dry_run, note, form, at) if len(rows) else (0, 0)
        )
    except BaseException:  # it is undone, and the table must not say otherwise
        forget_application(layout, key, at)
        raise
    for line in unfollowed_edits(layout, key, table, data):
        typer.echo(line)
    if edited:
        typer.echo(f"{layout.patch(key, 'patch.csv')}: {len(edited)} rows were edited by you")
    if in_review:
        typer.echo(
            f"review: {len(in_review)} rows were decided in repair review {key}, and are changed or left as decided"
        )
    if listed:
        typer.echo(f"{file}: {len(listed)} decisions")
    if others := [f"{name} {changed[name]}" for name, decision in decided.items() if decision.source == "data"]:
        typer.echo(f"{source.train}: rows that were changed since {key} was judged: {shown(others)}")
    counts = f"{dropped} rows dropped, {relabelled} relabelled, {_left_alone(decided)}"
    if not len(rows):
        move = "leave out an option, or decide about rows with --decisions FILE"
        typer.echo(f"{source.train}: nothing to apply: {_left_alone(decided)}; to change rows all the same, {move}")
    elif dry_run:
        for line in _by_class(rows, data):
            typer.echo(line)
        typer.echo(f"{source.train}: without --dry-run {counts}; nothing was changed")
    else:
        typer.echo(f"{source.train}: {counts}; undo with: repair patch revert {key}")
        typer.echo("next: retrain on it; to repair the retrained model, write a case with another name")


def evaluate(source: str, trainings: int, device: DeviceName) -> None:
    """Compare trainings on a case's data as they are and as patched; exit code 1 if a training failed.

    Raises:
        InputError: the case has no patch.
    """
    console, case = plain_console(), open_stored_case(source, device)
    if not case.layout.table("patch", case.id).exists():
        raise InputError(f"case {case.id} has no patch yet; to make it: repair run {case.id}")
    step = Step("patch_verdict", (), partial(next_trainings, trainings=trainings))
    with interruptible(case), chosen_engine(case.device), bar(console, "trainings") as progress:
        step.run(case, progress=progress)
    verdict = patch_verdict(case.layout, case.id)
    assert verdict is not None, "the step has made it"
    print_patch_verdict(console, verdict)
    example = f"SELECT * FROM patch_verdicts WHERE case_id = '{case.id}'"
    console.print(f'SQL      repair query "{example}"', soft_wrap=True)


def revert(key: str) -> None:
    """Revert a case's patch. What was done stays in the table ``applied``, which is a record.

    Raises:
        InputError: the patch is not applied, or cannot be reverted without loss.
    """
    layout = Layout.current()
    spec = stored_spec(layout, key)
    data = _user_data(spec)
    with patching(data, spec, layout):
        reverted = revert_patch(data, spec.root, key)
    if reverted.exactly:
        typer.echo(f"{data.train}: restored to what it was before the patch of {key}")
        return
    typer.echo(
        f"{data.train}: it was changed after the patch of {key}, and keeps that; dropped rows are back at its end, "
        "relabelled rows have their former label"
    )
    if reverted.left:
        typer.echo(
            f"{len(reverted.left)} rows of the patch were changed too, and are left alone: {shown(reverted.left)}"
        )


def _gated(layout: Layout, key: str) -> list[Mapping[str, Any]]:
    """The gate's rows of ``verdicts``, one a failure group."""
    return [row for row in read_parquet(layout.table("verdicts", key))[0].to_pylist() if row["judge"] == "gate"]


def _not_proven(key: str, gated: Iterable[Mapping[str, Any]], next_training: Mapping[str, Any] | None) -> InputError:
    listed = ", ".join(map(plain, sorted({row["verdict"] for row in gated}))) or "missing"
    why = f"the verdict of {key} is {listed}: removing these rows is not proven to repair anything"
    if next_training and next_training["verdict"] == "worse":
        why = f"the next training is worse with the patch of {key}"
    return InputError(
        f'{why}, so the data were not changed; to see the rows: repair query "SELECT * FROM patch WHERE case_id = '
        f"'{key}'\"; to change rows all the same, decide about them with repair review {key} or --decisions FILE"
    )


def _left_alone(decided: ByExample) -> str:
    """The number of rows that are left alone, and why."""
    counts = Counter(decision.left for decision in decided.values() if decision.left)
    reasons = ", ".join(f"{count} {reason}" for reason, count in counts.most_common())
    return f"{counts.total()} left alone" + (f" ({reasons})" if reasons else "")


def _by_class(rows: pa.Table, data: Dataset) -> list[str]:
    """The numbers of rows to drop of each class, and to relabel from one class to another, as lines."""
    label_of = dict(zip(data.train.ids.tolist(), texts(data.train.labels, data.classes), strict=True))
    counts = Counter[str]()
    for row in rows.to_pylist():
        new = f" to {shown([row['suggested_label']])}" if row["action"] == "relabel" else ""
        counts[f"{row['action']} {shown([label_of[row['example_id']]])}{new}"] += 1
    return [f"{what}: {count}" for what, count in sorted(counts.items())]


def _user_data(spec: CaseSpec) -> UserData:
    if not isinstance(spec.dataset, UserData):
        raise InputError(
            f"the data of {spec.name} are {spec.data_name}, not files of yours: only your own data can be patched"
        )
    return spec.dataset
