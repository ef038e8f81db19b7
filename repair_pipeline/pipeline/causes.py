"""A method's causes under the case's rule."""

from pathlib import Path

from repair_pipeline.pipeline.case import Case
from repair_pipeline.storage.records import load_scores
from repair_pipeline.types import Causes


def causes_of(case: Case, method: str) -> Causes:
    """A method's causes under the case's rule, most harmful first.

    A ranking that cannot say how many, like the random control, takes as many as the method that is treated first.

    Raises:
        InputError: that method cannot say it either.
        FileNotFoundError: its scores are not there.
    """
    rows, rule = case.data.fit, case.spec.causes
    ranked = load_scores(case.influence_path(method), rows.examples)
    counted = ranked if rule.can_count(ranked) else load_scores(_first(case, method), rows.examples)
    return ranked.top(len(rule.causes(counted, planted=len(rows.corrupted_ids))))


def rankings(case: Case, method: str) -> tuple[Path, ...]:
    """The scores that a method's causes may come from."""
    return tuple(
        dict.fromkeys([case.influence_path(method), *([_first(case, method)] if case.spec.causes.asks_scores else [])])
    )


def _first(case: Case, method: str) -> Path:
    return case.influence_path(case.spec.treat[0] if case.spec.treat else method)
