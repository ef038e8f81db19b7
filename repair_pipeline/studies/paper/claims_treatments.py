"""The paper's claims about run time (App. B.2) and treatments (Sec. 4.2, App. B.4)."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from repair_pipeline.studies.paper.judging import (
    EWC,
    Claim,
    Judgement,
    NotMeasuredError,
    Verdict,
    above_zero,
    by_seed,
    first_or_second,
    interval_of,
    of_each,
    of_ewc,
)
from repair_pipeline.studies.paper.run_time import RunTime
from repair_pipeline.studies.paper.scope import Scope
from repair_pipeline.studies.paper.treatments import Treatments

# App. B.2.


def _seconds(scope: Scope) -> pd.DataFrame:
    rows = RunTime().rows(scope)
    if rows.empty:
        raise NotMeasuredError
    return rows[rows["corruption"] == "label_noise"]


def _faster_than_sgd(scope: Scope) -> Judgement:
    rows = _seconds(scope)
    ratio = {method: by_seed(rows, "total", method="sgd") / by_seed(rows, "total", method=method) for method in EWC}
    verdict: Verdict = "reproduced" if interval_of(ratio["ewc_paper"]).low >= 10 else "different"
    times = ", ".join(f"`{method}` {value.mean():.1f} times" for method, value in ratio.items())
    return Judgement(verdict, f"SGD-influence's seconds over those of {times}")


def _as_fast_as_linear(scope: Scope) -> Judgement:
    rows = _seconds(scope)
    fastest = pd.concat([by_seed(rows, "total", method=m) for m in ("linear_gd", "linear_sa")], axis=1).min(axis=1)
    return of_ewc(
        "seconds of the faster linear influence over its own",
        lambda method: fastest / by_seed(rows, "total", method=method),
        above=2 / 3,
    )


# Sec. 4.2 and B.4.


def _treated(scope: Scope) -> pd.DataFrame:
    rows = Treatments().rows(scope)
    if rows.empty:
        raise NotMeasuredError
    rows = rows[rows["chosen"]]
    return rows.assign(both=(rows["holdout_accuracy"] + rows["remaining_accuracy"]) / 2)


def _deletion(scope: Scope, against: Callable[[pd.DataFrame, str], pd.Series], what: str) -> Judgement:
    rows = _treated(scope)
    names = {"the paper's": "ewc_deletion_paper", "ours": "ewc_deletion"}
    return first_or_second({label: against(rows, name) for label, name in names.items()}, what)


def _beats_newton(scope: Scope) -> Judgement:
    return _deletion(
        scope,
        lambda rows, name: by_seed(rows, "both", name=name) - by_seed(rows, "both", name="newton"),
        "mean of holdout and remaining accuracy, EWC-deletion less Newton, each at its chosen γ",
    )


def _near_finetuning(scope: Scope) -> Judgement:
    def closer(rows: pd.DataFrame, name: str) -> pd.Series:
        tuned = by_seed(rows, "both", name="finetune")
        return (tuned - by_seed(rows, "both", name="newton")).abs() - (tuned - by_seed(rows, "both", name=name)).abs()

    return _deletion(scope, closer, "how much closer than Newton's that mean is to fine-tuning's")


def _learning_repairs_more(scope: Scope) -> Judgement:
    rows = _treated(scope)
    return above_zero(
        "holdout accuracy, `l2_query` at its chosen λ less `finetune`",
        by_seed(rows, "holdout_accuracy", name="l2_query") - by_seed(rows, "holdout_accuracy", name="finetune"),
    )


def _learning_harms_more(scope: Scope) -> Judgement:
    rows = _treated(scope)
    return above_zero(
        "remaining accuracy, `finetune` less `l2_query` at its chosen λ (the paper: 0.06)",
        by_seed(rows, "remaining_accuracy", name="finetune") - by_seed(rows, "remaining_accuracy", name="l2_query"),
    )


def _combination_best(scope: Scope) -> Judgement:
    rows = _treated(scope)
    combined = by_seed(rows, "both", name="combined")
    return of_each(
        "mean of holdout and remaining accuracy, `combined` less",
        {name: combined - by_seed(rows, "both", name=name) for name in ("finetune", "l2_query", "ewc_deletion")},
    )


TREATMENTS = (
    Claim("B.2; Table 1", "EWC-influence is an order of magnitude faster than SGD-influence.", _faster_than_sgd),
    Claim("B.2; Table 1", "On MNIST its time is similar to linear influence's.", _as_fast_as_linear),
    Claim(
        "Sec. 4.2; Fig. 5a",
        "EWC-deletion attains a better trade-off than Newton update removal (MNIST).",
        _beats_newton,
    ),
    Claim("Sec. 4.2; Fig. 5a", "It is much closer to the fine-tuning reference (MNIST).", _near_finetuning),
    Claim("B.4; Fig. 9", "Fine-tuning on F_q repairs more failures than fine-tuning on D∖C.", _learning_repairs_more),
    Claim("B.4; Fig. 9", "But it is worse on the remaining test set, by 6% on MNIST.", _learning_harms_more),
    Claim("B.4; Fig. 9", "Combining the two attains the best trade-off.", _combination_best),
)
