"""Printing verdicts, and what to do next; ``repair explain``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer
from rich.console import Console

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.errors import ExitCode
from repair_pipeline.cli.open_case import open_stored_case
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.errors import InputError
from repair_pipeline.evaluation.next_training import proven_groups
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.gate import accepted, gate_verdicts
from repair_pipeline.pipeline.next_training import patch_verdict
from repair_pipeline.pipeline.summary import unseen_measures
from repair_pipeline.reporting.descriptions import MEASURES, plain
from repair_pipeline.reporting.next_moves import next_moves
from repair_pipeline.tracking.registry import candidate
from repair_pipeline.types import FailureGroup, LabelForm


def explain(source: str) -> None:
    """Print the verdict on a case that has run, why it is so, and what to do next; exit code 3 if it is not accepted.

    Raises:
        InputError: there is no such case, or no gate has judged it.
    """
    case = open_stored_case(source, "auto")
    verdicts = gate_verdicts(case)
    if not verdicts:
        judged = "has not been judged yet; to go on" if case.spec.gate else "has no gate; with one in its file"
        raise InputError(f"case {case.id} {judged}: repair run {source}")
    console = plain_console()
    console.print(f"case {case.id}\n", soft_wrap=True)
    print_verdicts(console, case)
    if case.layout.report(case.id).exists():
        console.print(f"report   {case.layout.report(case.id)}", soft_wrap=True)
    else:
        console.print(
            f"report   its files are gone (repair gc); to make them again: repair run {case.id}", soft_wrap=True
        )
    raise typer.Exit(code_of(verdicts))


def print_verdicts(console: Console, case: Case) -> None:
    """Print the gate's verdicts on a case, what can be done after each, and the verdict on the next training."""
    patched = patch_verdict(case.layout, case.id) if case.spec.patch else None
    own_data, verdicts = isinstance(case.spec.dataset, UserData), gate_verdicts(case)
    classes = case.spec.task.form is LabelForm.CLASS
    for row in verdicts:
        print_verdict(console, row)
    if measured := unseen_measures(case):
        name, before, after = measured
        says = f"{MEASURES[name]} on unseen rows: {before:.3g} before, {after:.3g} after the repair"
        console.print(f"measure  {says}", soft_wrap=True)
    if patched:
        print_patch_verdict(console, patched)
    for row in verdicts:
        if row["verdict"] != "accepted":
            for move in next_moves(row, patched, case.id, case.spec.model_name, own_data, classes):
                console.print(f"next     {move}", soft_wrap=True)
    if (version := _candidate_version(case)) is not None:
        console.print(f"promote  repair promote {case.spec.model_name}: version {version} is the candidate in MLflow")
    if classes and any(row["removed"] for row in verdicts):
        console.print(f"review   repair review {case.id} --open")
    if own_data and proven_groups(verdicts, patched):
        rows = case.layout.patch(case.id, "patch.csv")
        console.print(f"patch    repair patch apply {case.id}: {rows}", soft_wrap=True)


def print_verdict(console: Console, row: Mapping[str, Any]) -> None:
    """Print the gate's verdict on one failure group."""
    group = FailureGroup(row["failure_group"]).phrase(" of {}")
    few = f" Too few remaining rows to judge: {row['unjudged']}." if row["unjudged"] else ""
    without = row.get("without_doubtful")  # a model made elsewhere is judged once
    other = f" Without doubtful test rows: {plain(without)}." if without else ""
    console.print(f"verdict{group}: {plain(row['verdict'])}. {row['reason']}{few}{other}\n", soft_wrap=True)


def code_of(verdicts: Sequence[Mapping[str, Any]]) -> ExitCode:
    """The exit code for the gate's verdicts, one for each failure group; without a gate there is none."""
    accepted = all(row["verdict"] == "accepted" for row in verdicts)
    return ExitCode.done if accepted else ExitCode.not_accepted


def print_patch_verdict(console: Console, row: Mapping[str, Any]) -> None:
    """Print the verdict on the next training with the patch."""
    console.print(f"patch: {plain(row['verdict'])}. {row['reason']}\n", soft_wrap=True)


def _candidate_version(case: Case) -> int | None:
    """The version of the case's accepted model, where it is the present candidate of its registered model."""
    path = case.layout.candidate(case.id)
    if not (accepted(case) and path.exists()):
        return None
    version = int(json.loads(path.read_text(encoding="utf-8"))["version"])
    return version if version == candidate(case.layout, case.spec.model_name) else None
