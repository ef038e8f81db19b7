"""The verdict on a case, in sentences. Every number comes from the stored tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from repair_pipeline.reporting.descriptions import MEASURES, count, description, percent, plain, signed
from repair_pipeline.reporting.evidence import Evidence, Row
from repair_pipeline.reporting.next_moves import next_moves
from repair_pipeline.reporting.selection import controls, repairs

_CONTROLS = 3
"""Fine-tuning with nothing removed, the same treatment of random rows, another seed."""


@dataclass(frozen=True)
class Verdict:
    """A headline, and titled paragraphs that support it: (title, text)."""

    headline: str
    points: list[tuple[str, str]]
    comparisons: list[tuple[str, str]]
    """Paragraphs on what the repair can be compared with: the other repairs, and the semi-oracle."""


@dataclass(frozen=True)
class Decision:
    """The gate's verdict on the repair of one failure group."""

    group: str
    words: str
    """The stored verdict, without underscores."""
    reason: str
    numbers: list[tuple[str, str, str]]
    """The three measures behind the verdict: (name, value, bounds)."""
    unjudged: str
    """Classes with too few remaining rows to judge."""
    without_doubtful: str
    """The verdict without doubtful test rows, in words; "" where no judged row is doubtful."""
    moves: list[str]
    """What can be done next."""


def decisions(evidence: Evidence) -> list[Decision]:
    """The gate's verdicts, one per failure group. Empty if the case has no gate or the gate could not judge."""
    return [_decision(row, evidence) for row in evidence.gate]


def _decision(row: Row, evidence: Evidence) -> Decision:
    worst = ""
    if row["worst_class"] is not None:
        worst = (
            f" Worst class: {row['worst_class']}, {_points(row['worst_class_change'])}, "
            f"must stay above {_points(-row['class_margin'])}."
        )
    return Decision(
        group=row["failure_group"],
        words=plain(row["verdict"]),
        reason=row["reason"],
        numbers=[
            (
                "Accuracy on unseen rows",
                _points(row["gain"]),
                f"{_interval_text(row, 'gain')}, must lie above 0. Counts failures fixed minus right rows broken.",
            ),
            (
                "The same, beyond random removal",
                _points(row["over_control"]),
                f"{_interval_text(row, 'over_control')}, must lie above 0. {_points(row['detectable'])} would be "
                "proven 4 times in 5.",
            ),
            (
                "Accuracy on remaining rows",
                _points(row["remaining_change"]),
                f"at worst {_points(row['remaining_low'])}, must stay above {_points(-row['margin'])}.{worst}",
            ),
        ],
        unjudged=row["unjudged"],
        without_doubtful=plain(row["without_doubtful"] or ""),
        moves=next_moves(
            row,
            evidence.patch_verdict,
            evidence.case["case_id"],
            evidence.spec.get("template") or evidence.spec["name"],
            own_data="train" in evidence.spec["dataset"],
            classes=bool(evidence.data.classes) and evidence.data.test.labels.dim() == 1,
        ),
    )


def _points(share: float) -> str:
    """A change in accuracy, in percentage points."""
    return f"{_percentage(share)} points"


def _interval_text(row: Row, name: str) -> str:
    return f"95% interval {_percentage(row[f'{name}_low'])} to {_percentage(row[f'{name}_high'])}"


def _percentage(share: float) -> str:
    return signed(100 * share)


def verdict(evidence: Evidence) -> Verdict:
    """What failed, what was found, what each repair gained over its controls, and what it cost.

    No repair is selected by its result: all use the causes of the method that the case treats first, and the judged
    repair comes first.
    """
    repaired = repairs(evidence.recovery, evidence.treated)
    semi_oracles = [row for row in evidence.recovery if row["treatment"] == "semi_oracle"]
    points = [("What failed", _failed(evidence)), ("What was found", _causes(evidence))]
    points += [("The repair", _repaired(evidence, row)) for row in repaired[:1]]
    points.append(("How far to trust it", _limits(evidence)))
    comparisons = [("Another repair", _repaired(evidence, row)) for row in repaired[1:]]
    comparisons += [("For comparison", _semi_oracle(evidence, row)) for row in semi_oracles]
    return Verdict(_headline(evidence, repaired), points, comparisons)


def _headline(evidence: Evidence, repaired: list[Row]) -> str:
    if not repaired:
        return "No repair was made."
    total, control_rows = len(evidence.partition.holdout), controls(evidence.recovery, repaired[0])
    fixed = count(repaired[0]["holdout_accuracy"], total)
    result = f"The repair corrects {fixed} of {total} held-out failures"
    if not control_rows:
        return f"{result}; no control was run, so its gain is not known."
    best = max(count(row["holdout_accuracy"], total) for row in control_rows)
    before = _unseen_before(evidence)
    harm = "" if before is None or repaired[0]["unseen_accuracy"] >= before else " It breaks more than it fixes."
    if fixed <= best:
        return f"{result} and does not beat the controls: the best of them corrects {best}.{harm}"
    doubt = "" if _interval(fixed, best, total)[0] > 0 else ": too few to rule out chance"
    return f"{result}, {fixed - best} more than the best control{doubt}.{harm}"


def _failed(evidence: Evidence) -> str:
    part, tests = evidence.partition, len(evidence.data.test)
    return (
        f"The model is wrong on {evidence.failures} of {tests} test rows ({percent(evidence.failures / tests)}). "
        f"{len(part.query)} of these failures were used to search for causes (query), {len(part.query_tuning)} to "
        f"decide when to stop (query tuning), and {len(part.holdout)} were kept aside to judge the repair (holdout)."
    )


def _causes(evidence: Evidence) -> str:
    by_method = {row["method"]: row for row in evidence.detection}
    row, rows = by_method.get(evidence.treated or evidence.method), len(evidence.data.fit.examples)
    if row is None:
        return "The influence method did not finish, so no causes are known."
    named = f"The method {row['method']} names {row['n_causes']} of {rows} training rows as causes"
    if not evidence.planted:
        return f"{named}. Nothing was planted in this case, so it is not known how many of them are right."
    right = f"; {count(row['precision'], row['n_causes'])} of them are planted" if row["n_causes"] else ""
    loss = by_method.get("loss") if row["method"] != "loss" else None
    baseline = f" The training loss alone, the simplest baseline, reaches an AUC of {loss['auc']:.3f}." if loss else ""
    return (
        f"{evidence.planted} of {rows} training rows were corrupted on purpose (planted). {named}{right}. A planted "
        f"row ranks above an intact one {percent(row['auc'])} of the time (AUC {row['auc']:.3f}; chance is 0.5)."
        f"{baseline}"
    )


def _repaired(evidence: Evidence, repair: Row) -> str:
    total, control_rows = len(evidence.partition.holdout), controls(evidence.recovery, repair)
    fixed, *fixed_by_controls = (count(row["holdout_accuracy"], total) for row in (repair, *control_rows))
    result = (
        f"{_sentence(description(repair))} corrects {fixed} of {total} held-out failures ({percent(fixed / total)})."
    )
    by_control = zip(control_rows, fixed_by_controls, strict=True)
    listed = ", ".join(f"{description(row)} corrects {corrected}" for row, corrected in by_control)
    if not control_rows:
        compared = "The case names no control, so its gain is not known" + (
            " beyond the gate's verdict." if evidence.gate else "."
        )
    elif evidence.gate:
        compared = f"Once each, for comparison: {listed}. The verdict rests on the gate's own controls."
    elif fixed <= max(fixed_by_controls):
        compared = f"It does not beat the controls: {listed}.{_in_its_favour(evidence, repair, control_rows)}"
    else:
        best = max(fixed_by_controls)
        low, high = (f"{100 * bound:+.1f}".replace("-", "−") for bound in _interval(fixed, best, total))
        by_chance = _interval(fixed, best, total)[0] <= 0
        compared = (
            f"That is {100 * (fixed - best) / total:.1f} points over the best control (95% interval {low} to {high}, "
            f"rows taken as independent){', which may be chance' if by_chance else ''}. The controls: {listed}."
        )
    few = (
        f" Only {len(control_rows)} of {_CONTROLS} controls are available." if 0 < len(control_rows) < _CONTROLS else ""
    )
    return f"{result} {compared}{few} {_cost(evidence, repair, control_rows)}"


def _in_its_favour(evidence: Evidence, repair: Row, control_rows: list[Row]) -> str:
    """What can be said for a repair that corrects no more than its controls."""
    as_good = [row for row in control_rows if row["holdout_accuracy"] >= repair["holdout_accuracy"]]
    gentler = all(row["remaining_accuracy"] < repair["remaining_accuracy"] for row in as_good)
    return " The controls that correct as many break more of the rows that were right." if gentler else ""


def _cost(evidence: Evidence, repair: Row, control_rows: list[Row]) -> str:
    total = len(evidence.partition.remaining)
    lost, *lost_by_controls = (total - count(row["remaining_accuracy"], total) for row in (repair, *control_rows))
    compared = ""
    if lost_by_controls:
        least, most = min(lost_by_controls), max(lost_by_controls)
        compared = f" (the controls break {least if least == most else f'{least} to {most}'})"
    before = _unseen_before(evidence)
    after = percent(repair["unseen_accuracy"])
    change = "is" if before is None else "stays at" if percent(before) == after else f"goes from {percent(before)} to"
    return (
        f"It breaks {lost} of {total} remaining rows that were right{compared}. Accuracy on unseen rows, weighted as "
        f"in the test set, {change} {after}.{_measure(evidence, repair)}"
    )


def _measure(evidence: Evidence, repair: Row) -> str:
    """The task's own number, such as the mean absolute error, as a sentence."""
    if repair.get("measure") is None:  # a table of an earlier version has none
        return ""
    before = next((row["unseen_measure"] for row in evidence.recovery if row["treatment"] == "base"), None)
    change = "is" if before is None else f"goes from {before:.3g} to"
    return f" The {MEASURES[repair['measure']]} on them, weighted alike, {change} {repair['unseen_measure']:.3g}."


def _unseen_before(evidence: Evidence) -> float | None:
    return next((row["unseen_accuracy"] for row in evidence.recovery if row["treatment"] == "base"), None)


def _semi_oracle(evidence: Evidence, row: Row) -> str:
    holdout, remaining = len(evidence.partition.holdout), len(evidence.partition.remaining)
    return (
        f"{_sentence(description(row))} (semi-oracle) corrects {count(row['holdout_accuracy'], holdout)} of {holdout} "
        f"held-out failures and breaks {remaining - count(row['remaining_accuracy'], remaining)} of {remaining} "
        "remaining rows."
    )


def _limits(evidence: Evidence) -> str:
    total = len(evidence.partition.holdout)
    missing = f" Some results are missing: {', '.join(evidence.missing)}." if evidence.missing else ""
    if evidence.gate:
        return (
            "The failures are the rows that this particular model gets wrong, so almost any retraining corrects some "
            "of them. So the gate compares several seeds of the repair with as many that remove random rows, on "
            f"{total} held-out failures; one row is {100 / total:.1f} points.{missing}"
        )
    return (
        f"This is one seed and {total} held-out failures, so one row is {100 / total:.1f} points. The failures are the "
        "rows that this particular model gets wrong, so almost any retraining corrects some of them. Only a gain over "
        f"the controls that repeats over seeds shows that a repair works.{missing}"
    )


def _sentence(words: str) -> str:
    return words[0].upper() + words[1:]


def _interval(fixed: int, best: int, total: int) -> tuple[float, float]:
    """95% interval of the difference between two shares of ``total`` rows (Agresti and Caffo, 2000)."""
    a, b = ((corrected + 1) / (total + 2) for corrected in (fixed, best))
    half = 1.96 * sqrt((a * (1 - a) + b * (1 - b)) / (total + 2))
    return a - b - half, a - b + half
