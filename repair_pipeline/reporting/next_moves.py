"""What to do after a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def next_moves(
    verdict: Mapping[str, Any],
    patch_verdict: Mapping[str, Any] | None,
    case_id: str,
    model_name: str,
    own_data: bool,
    classes: bool = True,
) -> list[str]:
    """What can be done after the gate's verdict on the repair of one failure group.

    Args:
        verdict: its row of the view ``verdicts``.
        patch_verdict: the case's row of ``patch_verdicts``; None if the next training was not tried.
        case_id: id of the case.
        model_name: name of the registered model.
        own_data: whether the training data are the user's files, which a patch can change.
        classes: whether labels are classes, whose rows ``repair review`` can show.

    Returns:
        Sentences with commands: on the model, then on the data, whose patch has a verdict of its own.
    """
    match verdict["verdict"]:
        case "accepted":
            moves = [f"Put the repaired model into service: repair promote {model_name}."]
        case "recommended":
            moves = ["Report failures that no case has read, or add test rows, and run again: it can then be accepted."]
        case "rejected":
            moves = [
                "Keep the present model. The treatment auto looks for one that does less harm; to be accepted it needs "
                "failures that no case has read."
            ]
        case "not_a_data_problem":
            moves = [
                "Look elsewhere than at wrong training rows: at inputs that the training data hardly contain, or at "
                "what the model can express."
            ]
        case _:
            moves = _after_not_proven(verdict)
    return [*moves, *_on_the_data(verdict, patch_verdict, case_id, classes)] if own_data else moves


def _after_not_proven(verdict: Mapping[str, Any]) -> list[str]:
    if not verdict["removed"]:
        return ["Report more failures, or name more rows at the price of more false ones: causes: {fdr: 0.3}."]
    moves = []
    if verdict["over_control_low"] <= 0 and verdict["failures_needed"] is not None:
        moves.append(
            f"Report more failures: {verdict['failures_needed']} held-out ones would settle this gain, "
            f"{verdict['holdout']} were judged, and half of those reported are held out."
        )
    elif verdict["over_control_low"] <= 0:
        moves.append("Run more controls (gate.controls), or choose a treatment that changes more.")
    if -verdict["remaining_low"] >= verdict["margin"]:
        moves.append(
            "Add test rows that the model gets right, which tells more exactly how many may break; or choose a "
            "gentler treatment; or, if you can bear the loss, say so before the next run: gate: {level: exploratory}."
        )
    return moves or ["Report more failures, and run again."]


def _on_the_data(
    verdict: Mapping[str, Any], patch_verdict: Mapping[str, Any] | None, case_id: str, classes: bool
) -> list[str]:
    if not verdict["removed"]:
        return []
    place = (
        f"repair review {case_id}" if classes else f"repair query \"SELECT * FROM patch WHERE case_id = '{case_id}'\""
    )
    look = f"Look at the suspected rows: {place}."
    if patch_verdict is None:
        return [look, f"Is the next training better without them? repair patch evaluate {case_id}."]
    if patch_verdict["verdict"] == "better":
        return [f"The next training is better with the patch: repair patch apply {case_id}.", look]
    return [look]
