"""A method's causes under the case's rule."""

from pathlib import Path

from repair_pipeline.pipeline.case import GroupView
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.storage.records import load_scores
from repair_pipeline.types import Causes


def causes_of(view: GroupView, method: str, own: CausesRule | None = None) -> Causes:
    """A method's causes under a treatment's own rule, or else the case's, most harmful first.

    A ranking that cannot say how many, like the random control, takes as many as the method that is treated first.

    Raises:
        InputError: that method cannot say it either.
        FileNotFoundError: its scores are not there.
    """
    rows, rule = view.data.fit, own or view.spec.causes
    ranked = load_scores(view.influence_path(method), rows.examples)
    counted = ranked if rule.can_count(ranked) else load_scores(_first(view, method), rows.examples)
    return ranked.top(len(rule.causes(counted, planted=len(rows.corrupted_ids))))


def rankings(view: GroupView, method: str, own: CausesRule | None = None) -> tuple[Path, ...]:
    """The files of scores that decide a method's causes."""
    counts_by_scores = (own or view.spec.causes).asks_scores
    counted = [_first(view, method)] if counts_by_scores else []
    return tuple(dict.fromkeys([view.influence_path(method), *counted]))


def _first(view: GroupView, method: str) -> Path:
    return view.influence_path(view.spec.treat[0] if view.spec.treat else method)
