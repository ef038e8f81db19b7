"""The case in plain words, each number from the tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.words import count, in_words, kind, percent

_CONTROLS = 3
"""Fine-tuning with nothing removed, the same treatment of random rows, another seed."""


@dataclass(frozen=True)
class Verdict:
    """A sentence that stands alone, and what it rests on: (what is answered, answer)."""

    headline: str
    points: list[tuple[str, str]]


def verdict(evidence: Evidence) -> Verdict:
    """What failed, what was found, what the repair gained over its controls, and what it cost.

    Nothing is picked by its result: the repairs are those of the method that the case treats first, in the table's order.
    """
    repairs = [
        row for row in evidence.recovery if kind(row) == "repair" and row["influence_method"] == evidence.treated
    ]
    points = [("What failed", _failed(evidence)), ("What was found", _found(evidence))]
    for row in repairs:
        points += [("What the repair gained", _gained(evidence, row)), ("What it cost", _cost(evidence, row))]
    points += [("For comparison", _compared(evidence, row)) for row in evidence.recovery if _is_semi_oracle(row)]
    points.append(("How far to trust it", _trusted(evidence)))
    return Verdict(_headline(evidence, repairs), points)


def _controls(evidence: Evidence, repair: Row) -> list[Row]:
    """What the repair must beat: controls of other treatments answer other questions."""
    return [
        row
        for row in evidence.recovery
        if kind(row) == "control" and (row["influence_method"] is None or row["treatment"] == repair["treatment"])
    ]


def _headline(evidence: Evidence, repairs: list[Row]) -> str:
    if not repairs:
        return "No repair was made."
    repair, total = repairs[0], len(evidence.partition.holdout)
    fixed, controls = count(repair["holdout_accuracy"], total), _controls(evidence, repair)
    if not controls:
        return f"The repair corrects {fixed} of {total} held-out failures; without a control, its gain is unknown."
    best = max(count(row["holdout_accuracy"], total) for row in controls)
    if fixed <= best:
        return "On the held-out failures the repair does not beat the controls."
    sure = "" if _interval(fixed, best, total)[0] > 0 else ": too few to rule out chance"
    return f"The repair corrects {fixed} of {total} held-out failures, {fixed - best} more than the best control{sure}."


def _failed(evidence: Evidence) -> str:
    part, tests = evidence.partition, len(evidence.data.test)
    return (
        f"The model is wrong on {evidence.failures} of {tests} test rows ({percent(evidence.failures / tests)}). "
        f"{len(part.query)} of these failures were used to search for causes (query), {len(part.holdout)} were kept "
        f"aside to judge the repair (holdout)."
    )


def _found(evidence: Evidence) -> str:
    by_method = {row["method"]: row for row in evidence.detection}
    row, rows = by_method.get(evidence.treated or evidence.method or ""), len(evidence.data.fit.examples)
    if row is None:
        return "No influence method finished, so no causes are known."
    taken = f"{row['method']} takes {row['n_causes']} of {rows} training rows for causes"
    if not evidence.planted:
        return f"{taken}. Nothing was planted in this case, so how many of them are right is not known."
    right = f"; {count(row['precision'], row['n_causes'])} of them are planted" if row["n_causes"] else ""
    rival = by_method.get("loss")
    against = f" The plain training loss, the simplest rival, reaches {rival['auc']:.3f}." if rival else ""
    return (
        f"{evidence.planted} of {rows} training rows were planted. {taken}{right}. A planted row ranks above an "
        f"untouched one {percent(row['auc'])} of the time (AUC {row['auc']:.3f}; chance is 0.5).{against}"
    )


def _gained(evidence: Evidence, repair: Row) -> str:
    total, controls = len(evidence.partition.holdout), _controls(evidence, repair)
    fixed = count(repair["holdout_accuracy"], total)
    says = f"The model {in_words(repair)} corrects {fixed} of {total} held-out failures ({percent(fixed / total)})."
    if not controls:
        return f"{says} No control was run, so what it gained is not known."
    fixes = [count(row["holdout_accuracy"], total) for row in controls]
    listed = ", ".join(f"{in_words(row)}: {fix}" for row, fix in zip(controls, fixes, strict=True))
    if fixed <= max(fixes):
        judged = "It does not beat the controls"
    else:
        low, high = _interval(fixed, max(fixes), total)
        judged = (
            f"That is {100 * (fixed - max(fixes)) / total:+.1f} points over the best control (95% interval for these "
            f"rows, taken as independent: {100 * low:+.1f} to {100 * high:+.1f})"
        )
    some = "" if len(controls) == _CONTROLS else f" Only {len(controls)} of {_CONTROLS} controls are there."
    return f"{says} {judged} ({listed}).{some}"


def _cost(evidence: Evidence, repair: Row) -> str:
    total = len(evidence.partition.remaining)
    lost = [total - count(row["remaining_accuracy"], total) for row in (repair, *_controls(evidence, repair))]
    against = ""
    if lost[1:]:
        low, high = min(lost[1:]), max(lost[1:])
        against = f"; the controls break {low if low == high else f'{low} to {high}'}"
    base = [row["unseen_accuracy"] for row in evidence.recovery if row["treatment"] == "base"]
    before = f"from {percent(base[0])} before" if base else "from what is not recorded"
    return (
        f"It breaks {lost[0]} of {total} remaining rows that were right ({percent(lost[0] / total)}){against}. Over "
        f"unseen rows at the test set's natural mix, accuracy goes {before} to {percent(repair['unseen_accuracy'])}."
    )


def _is_semi_oracle(row: Row) -> bool:
    return bool(row["treatment"] == "semi_oracle")


def _compared(evidence: Evidence, row: Row) -> str:
    holdout, remaining = len(evidence.partition.holdout), len(evidence.partition.remaining)
    return (
        f"The model {in_words(row)} (semi-oracle) corrects {count(row['holdout_accuracy'], holdout)} of {holdout} "
        f"held-out failures and breaks {remaining - count(row['remaining_accuracy'], remaining)} of {remaining} "
        "remaining rows."
    )


def _trusted(evidence: Evidence) -> str:
    total = len(evidence.partition.holdout)
    missing = f" Not everything finished: {', '.join(evidence.missing)} missing." if evidence.missing else ""
    return (
        f"This is one seed and {total} held-out failures; one row is {100 / total:.1f} points. Failures are failures of "
        "this very model, so some flip whatever is done: only a gain over the controls, repeated over seeds, says that "
        f"a repair works.{missing}"
    )


def _interval(fixed: int, best: int, total: int) -> tuple[float, float]:
    """95% interval of the difference of two shares of ``total`` rows (Agresti and Caffo, 2000)."""
    a, b = ((hits + 1) / (total + 2) for hits in (fixed, best))
    half = 1.96 * sqrt((a * (1 - a) + b * (1 - b)) / (total + 2))
    return a - b - half, a - b + half
