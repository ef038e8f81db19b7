"""``repair promote`` and ``repair rollback``."""

from __future__ import annotations

import typer

from repair_pipeline.pipeline.inputs import require_judged_data
from repair_pipeline.pipeline.standing import require_accepted
from repair_pipeline.storage.layout import Layout
from repair_pipeline.tracking.registry import finished_promotion, promote, repairs_version, rollback


def promote_and_show(name: str) -> None:
    """Make the candidate of a model its champion, and warn where the former champion's repairs may be lost.

    If a promotion was interrupted, it is finished instead.

    Raises:
        InputError: there is no such model or candidate, or the data have changed since the candidate was judged.
    """
    layout = Layout.current()
    promoted = finished_promotion(layout, name)
    if promoted is None:
        require_accepted(layout, name)
        require_judged_data(layout, name)
        promoted = promote(layout, name)
    former, new = promoted
    typer.echo(f"champion of {name}: version {new}" + ("" if former is None else f" (before: version {former})"))
    if former is not None and not repairs_version(layout, name, new, former):
        typer.echo(
            f"repair: version {new} was not made from version {former}, so repairs in version {former} may be lost; "
            f"to undo: repair rollback {name}",
            err=True,
        )


def rollback_and_show(name: str) -> None:
    """Make the previous champion of a model its champion again.

    Raises:
        InputError: there is no such model or no previous champion.
    """
    replaced, current = rollback(Layout.current(), name)
    typer.echo(f"champion of {name}: version {current} (rolled back from version {replaced})")
