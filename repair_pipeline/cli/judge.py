"""``repair judge``."""

from __future__ import annotations

from pathlib import Path

import typer

from repair_pipeline.cli.console import plain_console
from repair_pipeline.cli.open_case import open_stored_case
from repair_pipeline.cli.progress import StepBars
from repair_pipeline.cli.run import interruptible
from repair_pipeline.cli.verdicts import code_of, print_verdict
from repair_pipeline.compute.bars import bar
from repair_pipeline.compute.device import DeviceName
from repair_pipeline.pipeline.elsewhere import judge_elsewhere, prepare


def judge_and_show(source: str, weights: Path, device: DeviceName) -> None:
    """Judge a model that was made elsewhere, and print the verdict.

    The exit code is 1 if a step failed, and 3 if the model is not *accepted*.

    Raises:
        InputError: the case or the weights cannot be used.
    """
    console, case = plain_console(), open_stored_case(source, device)
    with interruptible(case):
        prepare(case, weights, StepBars(console))
        with bar(console, "judge") as progress:
            rows = judge_elsewhere(case, weights, progress)
    console.print(f"case {case.id}, model {rows[0]['weights']}: {weights}\n", soft_wrap=True)
    for row in rows:
        print_verdict(console, row)
    example = f"SELECT * FROM judged_models WHERE case_id = '{case.id}'"
    console.print(f'SQL      repair query "{example}"', soft_wrap=True)
    raise typer.Exit(code_of(rows))
