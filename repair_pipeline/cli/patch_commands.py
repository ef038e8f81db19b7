"""The commands of ``repair patch``. Each imports its heavy modules itself, so that --help is quick."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from repair_pipeline.cli.errors import one_line
from repair_pipeline.cli.options import CaseName, Device

patch = typer.Typer(help="Apply a case's patch to your training data, or revert it.")


class Action(StrEnum):
    """What a patch suggests for a row."""

    drop = "drop"
    relabel = "relabel"


@patch.command("apply", epilog="Example: repair patch apply wards-1f0c2ab3 --min-probability 0.9 --only drop")
def patch_apply(
    case: CaseName,
    min_probability: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, metavar="P", help="Leave suggestions alone whose probability is below P or unknown."
        ),
    ] = None,
    only: Annotated[Action | None, typer.Option(help="Apply only the suggestions of this kind.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Apply only the N most probable, or most harmful, suggestions."),
    ] = None,
    decisions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet: example_id, decision (keep, drop, relabel), label. It overrides suggestions.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Change nothing; print what would change.")] = False,
) -> None:
    """Drop and relabel training rows by the patch of CASE. The original files are kept."""
    from repair_pipeline.cli.patch import apply
    from repair_pipeline.pipeline.decisions import Choice

    with one_line():
        apply(case, Choice(min_probability, only.value if only else None, limit), decisions, dry_run)


@patch.command("evaluate", epilog="Example: repair patch evaluate wards-1f0c2ab3")
def patch_evaluate(
    case: CaseName,
    trainings: Annotated[
        int, typer.Option(min=2, metavar="K", help="Trainings on the data as they are, and on the patched data.")
    ] = 3,
    device: Annotated[Device, typer.Option(help="Where the trainings run.")] = Device.auto,
) -> None:
    """Say whether the next training is better with the patch of CASE.

    Trains several times on the data as they are, and as often on the patched data.
    """
    from repair_pipeline.cli.patch import evaluate

    with one_line():
        evaluate(case, trainings, device.value)


@patch.command("revert", epilog="Example: repair patch revert wards-1f0c2ab3")
def patch_revert(case: CaseName) -> None:
    """Restore the training data of CASE to what they were before."""
    from repair_pipeline.cli.patch import revert

    with one_line():
        revert(case)
