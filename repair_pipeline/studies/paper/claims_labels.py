"""The paper's claims about wrong labels (Sec. 4.1) and few failures (App. B.1)."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from repair_pipeline.studies.paper import removal
from repair_pipeline.studies.paper.judging import (
    BASELINES,
    EWC,
    Claim,
    Judgement,
    NotMeasuredError,
    above_zero,
    best_baseline,
    by_seed,
    of_each,
    of_ewc,
    share_of_first,
)
from repair_pipeline.studies.paper.query_size import QuerySize
from repair_pipeline.studies.paper.scope import Scope

_AS_MUCH = 0.01
"""An accuracy counts as kept within this tolerance."""
_MUCH = 0.1
"""A gain in accuracy from here on counts as more than small."""

# Sec. 4.1, annotation noise.


def _concentrated(scope: Scope) -> Judgement:
    specs = scope.over_seeds(scope.scored, "label_noise")
    noisy = scope.targets("label_noise")
    rows = scope.stored(
        f"(SELECT case_id, avg(CAST(label IN ({noisy}) AS INT)) FILTER (split IN ('query', 'query_tuning', 'holdout')) "
        f"AS failed, avg(CAST(label IN ({noisy}) AS INT)) FILTER (split IN ('guard', 'remaining')) AS right_ "
        "FROM examples GROUP BY case_id)",
        specs,
    )
    return above_zero(
        f"share of the noisy classes among failures ({rows['failed'].mean():.3f}) less that among the others",
        by_seed(rows, "failed") - by_seed(rows, "right_"),
    )


def _detection(scope: Scope, column: str) -> Callable[[str], pd.Series]:
    rows = scope.stored("detection", scope.over_seeds(scope.scored, "label_noise"))
    return lambda method: by_seed(rows, column, method=method) - best_baseline(rows, column)


def _removal(scope: Scope) -> pd.DataFrame:
    rows = scope.measured(removal.Removal.name)
    if rows.empty:
        raise NotMeasuredError
    return rows


def _highest_gain(scope: Scope) -> Judgement:
    rows = _removal(scope)
    return of_ewc(
        "holdout accuracy, mean over all removals, less the best baseline's",
        lambda method: by_seed(rows, "holdout_accuracy", method=method) - best_baseline(rows, "holdout_accuracy"),
    )


def _no_harm(scope: Scope) -> Judgement:
    rows, control = _removal(scope), removal.controls(scope)
    kept = by_seed(control, "remaining_accuracy", name="nothing removed")
    return of_ewc(
        "remaining accuracy at 40% removed, less fine-tuning with nothing removed",
        lambda method: by_seed(rows, "remaining_accuracy", method=method, share=0.4) - kept,
        above=-_AS_MUCH,
    )


def _better_than_random(scope: Scope) -> Judgement:
    rows = _removal(scope)
    random = by_seed(rows, "holdout_accuracy", method="random")
    return of_each(
        "holdout accuracy, mean over all removals, less random rows'",
        {method: by_seed(rows, "holdout_accuracy", method=method) - random for method in (*BASELINES, *EWC)},
    )


def _above_semi_oracle(scope: Scope) -> Judgement:
    rows, control = _removal(scope), removal.controls(scope)
    semi = by_seed(control, "holdout_accuracy", name="semi-oracle")
    return of_each(
        "holdout accuracy at 40% (some 10³ rows) removed, less the semi-oracle's",
        {m: by_seed(rows, "holdout_accuracy", method=m, share=0.4) - semi for m in (*BASELINES, *EWC)},
    )


# App. B.1.


def _query_size(scope: Scope) -> pd.DataFrame:
    rows = QuerySize().rows(scope)
    if rows.empty:
        raise NotMeasuredError
    return rows


def _graceful(scope: Scope) -> Judgement:
    rows = _query_size(scope)
    methods = rows["method"].unique()
    change = {
        m: by_seed(rows, "holdout_accuracy", method=m, query_fraction=0.05)
        - by_seed(rows, "holdout_accuracy", method=m, query_fraction=1.0)
        for m in methods
    }
    return of_each("holdout accuracy with 5% of the query less that with all", change, above=-_MUCH)


def _few_best(scope: Scope, column: str) -> Judgement:
    rows = _query_size(scope)
    few = rows[rows["query_fraction"] < 1]
    return of_ewc(
        f"{column.replace('_', ' ')}, mean over 5% and 20% of the query, less the best baseline's",
        lambda method: by_seed(few, column, method=method) - best_baseline(few, column),
    )


def _few_above_semi_oracle(scope: Scope) -> Judgement:
    rows = _query_size(scope)
    semi = by_seed(removal.controls(scope), "holdout_accuracy", name="semi-oracle")
    return of_each(
        "holdout accuracy with 5% of the query, less the semi-oracle's",
        {m: by_seed(rows, "holdout_accuracy", method=m, query_fraction=0.05) - semi for m in rows["method"].unique()},
    )


def _remaining_drops(scope: Scope) -> Judgement:
    rows = _query_size(scope)
    return of_ewc(
        "remaining accuracy with all of the query less that with 5%",
        lambda method: (
            by_seed(rows, "remaining_accuracy", method=method, query_fraction=1.0)
            - by_seed(rows, "remaining_accuracy", method=method, query_fraction=0.05)
        ),
    )


_LABELS = "Sec. 4.1, annotation noise"
LABELS = (
    Claim(f"{_LABELS}; Fig. 2b", "Failures are concentrated on the classes with label noise.", _concentrated),
    Claim(
        f"{_LABELS}; Fig. 2c",
        "EWC-influence identifies more of the mislabelled rows, earlier, than the other methods.",
        lambda scope: of_ewc("AUC less the best baseline's", _detection(scope, "auc")),
    ),
    Claim(
        f"{_LABELS}; Fig. 2c",
        "It is the closest match to the oracle.",
        lambda scope: of_ewc(
            "precision among as many rows as were planted, less the best baseline's",
            _detection(scope, "precision_at_n"),
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 2d",
        "The top 16 causes are mislabelled.",
        lambda scope: of_ewc(
            "share planted",
            share_of_first(scope, "label_noise", "ASC", "corrupted"),
            above=0.95,
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 7, B.3",
        "None of the 16 least harmful rows was corrupted.",
        lambda scope: of_ewc(
            "share not planted",
            share_of_first(scope, "label_noise", "DESC", "NOT corrupted"),
            above=0.95,
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 7",
        "The least harmful rows are of the same classes as the failures, with the right labels.",
        lambda scope: of_ewc(
            "share in the noisy classes, not planted",
            share_of_first(
                scope, "label_noise", "DESC", f"label IN ({scope.targets('label_noise')}) AND NOT corrupted"
            ),
            above=0.95,
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 3",
        "Removing the causes that EWC-influence finds raises the accuracy on failures most.",
        _highest_gain,
    ),
    Claim(f"{_LABELS}; Fig. 3", "It does not hurt the remaining test set.", _no_harm),
    Claim(f"{_LABELS}; Fig. 3", "All methods fix the failures better than removing random rows.", _better_than_random),
    Claim(
        f"{_LABELS}; Fig. 3",
        "With about 10³ rows removed, all methods surpass removing all mislabelled rows (MNIST).",
        _above_semi_oracle,
    ),
    Claim("B.1; Fig. 6", "All approaches degrade gracefully as the query set gets smaller.", _graceful),
    Claim(
        "B.1; Fig. 6",
        "EWC-influence is the best in precision even as the query set shrinks.",
        lambda scope: _few_best(scope, "precision"),
    ),
    Claim(
        "B.1; Fig. 6",
        "EWC-influence is the best in recall even as the query set shrinks.",
        lambda scope: _few_best(scope, "recall"),
    ),
    Claim(
        "B.1; Fig. 6",
        "EWC-influence is the best in holdout accuracy even as the query set shrinks.",
        lambda scope: _few_best(scope, "holdout_accuracy"),
    ),
    Claim("B.1; Fig. 6", "With 5% of the query, all improve over the semi-oracle (MNIST).", _few_above_semi_oracle),
    Claim("B.1; Fig. 6", "With few failures, EWC-influence loses remaining accuracy.", _remaining_drops),
)
