"""The case in plain words, each number from the tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import Any

from repair_pipeline.evaluation.gate import PROVEN
from repair_pipeline.reporting.descriptions import count, in_words, percent, plain, signed
from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.selection import controls, repairs

_CONTROLS = 3
"""Fine-tuning with nothing removed, the same treatment of random rows, another seed."""


@dataclass(frozen=True)
class Verdict:
    """A sentence that stands alone, and what it rests on: (what is answered, answer)."""

    headline: str
    points: list[tuple[str, str]]
    beside: list[tuple[str, str]]
    """The same of what it can be compared with: the other repairs, and the semi-oracle."""


@dataclass(frozen=True)
class Decision:
    """What the gate decides of one failure group's repair."""

    group: str
    words: str
    """The table's, in plain words."""
    proven: bool
    """The data may be changed for it."""
    reason: str
    numbers: list[tuple[str, str, str]]
    """The three that it rests on: (what, value, within which bounds)."""
    unjudged: str


def decisions(evidence: Evidence) -> list[Decision]:
    """The gate's, one a failure group; none where the case has no gate or the gate could not judge."""
    return [_decision(evidence.spec["gate"], row) for row in evidence.gate]


def _decision(gate: Mapping[str, Any], row: Row) -> Decision:
    worst = ""
    if row["worst_class"] is not None:
        worst = (
            f" The class that may lose most is {row['worst_class']}: {_points(row['worst_class_low'])}, "
            f"must stay above {_points(-gate['class_bound'])}."
        )
    return Decision(
        group=row["failure_group"],
        words=plain(row["verdict"]),
        proven=row["verdict"] in PROVEN,
        reason=row["reason"],
        numbers=[
            (
                "Accuracy on unseen rows",
                _points(row["gain"]),
                f"{_between(row, 'gain')}, must be above 0: failures fixed less right rows broken.",
            ),
            (
                "Held-out failures fixed, over random removal",
                _points(row["over_control"]),
                f"{_between(row, 'over_control')}, must be above 0, and no control may fix as many.",
            ),
            (
                "Accuracy on remaining rows",
                _points(row["remaining_change"]),
                f"at worst {_points(row['remaining_low'])}, must stay above {_points(-gate['bound'])}.{worst}",
            ),
        ],
        unjudged=row["unjudged"],
    )


def _points(share: float) -> str:
    """A change of an accuracy."""
    return f"{_hundredfold(share)} points"


def _between(row: Row, name: str) -> str:
    return f"95% interval {_hundredfold(row[f'{name}_low'])} to {_hundredfold(row[f'{name}_high'])}"


def _hundredfold(share: float) -> str:
    return signed(100 * share)


def verdict(evidence: Evidence) -> Verdict:
    """What failed, what was found, what each repair gained over its controls, and what it cost.

    Nothing is picked by its result: the repairs are of the method that the case treats first, the judged one first.
    """
    made = repairs(evidence.recovery, evidence.treated)
    semi_oracles = [row for row in evidence.recovery if row["treatment"] == "semi_oracle"]
    points = [("What failed", _failed(evidence)), ("What was found", _found(evidence))]
    points += [("The repair", _repaired(evidence, row)) for row in made[:1]]
    points.append(("How far to trust it", _trusted(evidence)))
    beside = [("Another repair", _repaired(evidence, row)) for row in made[1:]]
    beside += [("For comparison", _compared(evidence, row)) for row in semi_oracles]
    return Verdict(_headline(evidence, made), points, beside)


def _headline(evidence: Evidence, made: list[Row]) -> str:
    if not made:
        return "No repair was made."
    total, rivals = len(evidence.partition.holdout), controls(evidence.recovery, made[0])
    fixed = count(made[0]["holdout_accuracy"], total)
    says = f"The repair corrects {fixed} of {total} held-out failures"
    if not rivals:
        return f"{says}; no control was run, so what it gained is not known."
    best = max(count(row["holdout_accuracy"], total) for row in rivals)
    before = _unseen_before(evidence)
    harm = "" if before is None or made[0]["unseen_accuracy"] >= before else " It breaks more than it mends."
    if fixed <= best:
        return f"{says} and does not beat the controls: the best of them corrects {best}.{harm}"
    sure = "" if _interval(fixed, best, total)[0] > 0 else ": too few to rule out chance"
    return f"{says}, {fixed - best} more than the best control{sure}.{harm}"


def _failed(evidence: Evidence) -> str:
    part, tests = evidence.partition, len(evidence.data.test)
    return (
        f"The model is wrong on {evidence.failures} of {tests} test rows ({percent(evidence.failures / tests)}). "
        f"{len(part.query)} of these failures were used to search for causes (query), {len(part.holdout)} were kept "
        "aside to judge the repair (holdout)."
    )


def _found(evidence: Evidence) -> str:
    by_method = {row["method"]: row for row in evidence.detection}
    row, rows = by_method.get(evidence.treated or evidence.method), len(evidence.data.fit.examples)
    if row is None:
        return "The influence method did not finish, so no causes are known."
    taken = f"{row['method']} takes {row['n_causes']} of {rows} training rows for causes"
    if not evidence.planted:
        return f"{taken}. Nothing was planted in this case, so how many of them are right is not known."
    right = f"; {count(row['precision'], row['n_causes'])} of them are planted" if row["n_causes"] else ""
    rival = by_method.get("loss") if row["method"] != "loss" else None
    against = f" The plain training loss, the simplest rival, reaches {rival['auc']:.3f}." if rival else ""
    return (
        f"{evidence.planted} of {rows} training rows were planted. {taken}{right}. A planted row ranks above an "
        f"untouched one {percent(row['auc'])} of the time (AUC {row['auc']:.3f}; chance is 0.5).{against}"
    )


def _repaired(evidence: Evidence, repair: Row) -> str:
    total, rivals = len(evidence.partition.holdout), controls(evidence.recovery, repair)
    fixed, *fixes = (count(row["holdout_accuracy"], total) for row in (repair, *rivals))
    says = f"{_sentence(in_words(repair))} corrects {fixed} of {total} held-out failures ({percent(fixed / total)})."
    listed = ", ".join(f"{in_words(row)} corrects {fix}" for row, fix in zip(rivals, fixes, strict=True))
    if not rivals:
        judged = "The case names no control, so what it gained is not known" + (
            " beyond what the gate says." if evidence.gate else "."
        )
    elif fixed <= max(fixes):
        judged = f"It does not beat the controls: {listed}.{_but(evidence, repair, rivals)}"
    else:
        low, high = _interval(fixed, max(fixes), total)
        judged = (
            f"That is {100 * (fixed - max(fixes)) / total:.1f} points over the best control (95% interval, rows taken "
            f"as independent: {100 * low:.1f} to {100 * high:.1f}): {listed}."
        )
        if low <= 0:
            judged += f" That may be chance.{_of_gate(evidence)}"
    few = f" Only {len(rivals)} of {_CONTROLS} controls are there." if 0 < len(rivals) < _CONTROLS else ""
    return f"{says} {judged}{few} {_cost(evidence, repair, rivals)}"


def _but(evidence: Evidence, repair: Row, rivals: list[Row]) -> str:
    """What speaks for a repair that corrects no more than its controls."""
    as_good = [row for row in rivals if row["holdout_accuracy"] >= repair["holdout_accuracy"]]
    kept = all(row["remaining_accuracy"] < repair["remaining_accuracy"] for row in as_good)
    says = " Those that correct as many break more of what was right." if kept else ""
    return says + _of_gate(evidence)


def _of_gate(evidence: Evidence) -> str:
    return " The gate compares with random removal alone." if evidence.gate else ""


def _cost(evidence: Evidence, repair: Row, rivals: list[Row]) -> str:
    total = len(evidence.partition.remaining)
    lost, *losses = (total - count(row["remaining_accuracy"], total) for row in (repair, *rivals))
    against = ""
    if losses:
        least, most = min(losses), max(losses)
        against = f" (the controls break {least if least == most else f'{least} to {most}'})"
    before = _unseen_before(evidence)
    after = percent(repair["unseen_accuracy"])
    goes = "is" if before is None else "stays at" if percent(before) == after else f"goes from {percent(before)} to"
    return (
        f"It breaks {lost} of {total} remaining rows that were right{against}. Over unseen rows, at the test set's "
        f"natural mix, accuracy {goes} {after}."
    )


def _unseen_before(evidence: Evidence) -> float | None:
    return next((row["unseen_accuracy"] for row in evidence.recovery if row["treatment"] == "base"), None)


def _compared(evidence: Evidence, row: Row) -> str:
    holdout, remaining = len(evidence.partition.holdout), len(evidence.partition.remaining)
    return (
        f"{_sentence(in_words(row))} (semi-oracle) corrects {count(row['holdout_accuracy'], holdout)} of {holdout} "
        f"held-out failures and breaks {remaining - count(row['remaining_accuracy'], remaining)} of {remaining} "
        "remaining rows."
    )


def _trusted(evidence: Evidence) -> str:
    total = len(evidence.partition.holdout)
    missing = f" Not everything is there; missing: {', '.join(evidence.missing)}." if evidence.missing else ""
    return (
        f"This is one seed and {total} held-out failures; one row is {100 / total:.1f} points. Failures are failures "
        "of this very model, so some flip whatever is done: only a gain over the controls, repeated over seeds, says "
        f"that a repair works.{missing}"
    )


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _interval(fixed: int, best: int, total: int) -> tuple[float, float]:
    """95% interval of the difference of two shares of ``total`` rows (Agresti and Caffo, 2000)."""
    a, b = ((hits + 1) / (total + 2) for hits in (fixed, best))
    half = 1.96 * sqrt((a * (1 - a) + b * (1 - b)) / (total + 2))
    return a - b - half, a - b + half
