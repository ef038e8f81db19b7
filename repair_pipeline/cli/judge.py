"""``repair judge`` and ``repair compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.open_case import open_stored_case
from repair_pipeline.cli.progress import StepBars
from repair_pipeline.cli.run import interruptible
from repair_pipeline.cli.verdicts import code_of, print_verdict
from repair_pipeline.compute.bars import bar
from repair_pipeline.compute.device import DeviceName
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.elsewhere import compare, judge_elsewhere, prepare


def judge_and_show(source: str, weights: Path, device: DeviceName) -> None:
    """Judge a model that was made elsewhere, and print the verdict.

    The exit code is 1 if a step failed, and 3 if the model is not *accepted*.

    Raises:
        InputError: the case or the weights cannot be used.
    """
    console, case = plain_console(), open_stored_case(source, device)
    with interruptible(case):
        prepare(case, {"--model": weights}, StepBars(console))
        with bar(console, "judge") as progress:
            rows = judge_elsewhere(case, weights, progress)
    console.print(f"case {case.id}, model {rows[0]['weights']}: {weights}\n", soft_wrap=True)
    _end(console, case, rows)


def compare_and_show(source: str, new: Path, old: Path | None, device: DeviceName) -> None:
    """Compare a model with the one that it is to replace, and print the verdict.

    The exit code is 1 if a step failed, and 3 if the new model is not *accepted*.

    Args:
        source: the case.
        new: the new model's weights.
        old: those of the other; None: the case's base model.
        device: where heavy steps run.

    Raises:
        InputError: the case or the weights cannot be used.
    """
    console, case = plain_console(), open_stored_case(source, device)
    with interruptible(case):
        prepare(case, {"NEW": new} | ({"--old": old} if old else {}), StepBars(console))
        with bar(console, "compare") as progress:
            rows = compare(case, new, old, progress)
    console.print(f"case {case.id}", soft_wrap=True)
    console.print(f"old  {rows[0]['compared_with']}: {old or 'the base model of the case'}", soft_wrap=True)
    console.print(f"new  {rows[0]['weights']}: {new}\n", soft_wrap=True)
    console.print(
        "Two models are compared as they are, on unseen test rows: failures of the old one, and rows that it gets "
        "right. The interval covers other rows, not other trainings.\n",
        soft_wrap=True,
    )
    _end(console, case, rows)


def _end(console: Console, case: Case, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        print_verdict(console, row)
    example = f"SELECT * FROM judged_models WHERE case_id = '{case.id}'"
    console.print(f'SQL      repair query "{example}"', soft_wrap=True)
    raise typer.Exit(code_of(rows))
