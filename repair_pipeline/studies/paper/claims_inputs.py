"""The paper's claims about random input noise and poisoning (Sec. 4.1, App. B.3)."""

from __future__ import annotations

import pandas as pd

from repair_pipeline.studies.paper import inputs
from repair_pipeline.studies.paper.judging import (
    BASELINES,
    EWC,
    Claim,
    Judgement,
    NotMeasuredError,
    Verdict,
    above_zero,
    best_baseline,
    by_seed,
    interval_of,
    left_open,
    of_each,
    of_ewc,
    share_of_first,
)
from repair_pipeline.studies.paper.scope import Scope

_AS_MUCH = 0.01
"""An accuracy counts as kept within this tolerance."""
_MUCH = 0.1
"""A gain in accuracy from here on counts as more than small."""

# Sec. 4.1, input noise and poisoning; B.3.


def _planted_share(scope: Scope) -> Judgement:
    rows = scope.stored(
        "(SELECT case_id, avg(CAST(corrupted AS INT)) AS share FROM examples WHERE split = 'fit' GROUP BY case_id)",
        scope.over_seeds(scope.scored, "input_noise"),
    )
    share = interval_of(by_seed(rows, "share"))
    return Judgement("reproduced" if abs(share.mean - 0.12) < 0.01 else "different", f"{share.mean:.3f} of D")


def _most_harmful(scope: Scope, corruption: str) -> pd.DataFrame:
    rows = inputs.causes(scope, corruption)
    if rows.empty:
        raise NotMeasuredError
    return rows


def _avoids(scope: Scope) -> Judgement:
    rows = _most_harmful(scope, "input_noise")
    random = by_seed(rows, "planted", method="random")
    return of_ewc(
        f"planted rows among random ones ({random.mean():.0f}) less those among the top 1000",
        lambda method: random - by_seed(rows, "planted", method=method),
    )


def _best_repair(scope: Scope, corruption: str) -> Judgement:
    rows = inputs.repairs(scope, corruption)
    return of_ewc(
        "holdout accuracy less the best baseline's",
        lambda method: by_seed(rows, "holdout_accuracy", method=method) - best_baseline(rows, "holdout_accuracy"),
    )


def _similar_remaining(scope: Scope, corruption: str) -> Judgement:
    rows = inputs.repairs(scope, corruption)
    return of_ewc(
        "remaining accuracy less the best baseline's",
        lambda method: by_seed(rows, "remaining_accuracy", method=method) - best_baseline(rows, "remaining_accuracy"),
        above=-2 * _AS_MUCH,
    )


def _reference_gain(scope: Scope, corruption: str) -> pd.Series:
    rows = inputs.references(scope, corruption)
    return by_seed(rows, "holdout_accuracy", name="planted removed, retrained") - by_seed(
        rows, "holdout_accuracy", name="nothing removed, retrained"
    )


def _harmless_noise(scope: Scope) -> Judgement:
    gained = interval_of(_reference_gain(scope, "input_noise"))
    verdict: Verdict = "reproduced" if gained.high < _MUCH else "not reproduced"
    what = f"holdout accuracy retrained without the planted rows less retrained on all, asked to be below {_MUCH:g}"
    return Judgement(verdict, f"{what}: {gained}{left_open(verdict, gained.low < _MUCH)}")


def _harmful_poison(scope: Scope) -> Judgement:
    gained = _reference_gain(scope, "poison")
    return above_zero(
        f"the same difference for poisoning ({gained.mean():+.3f}) less that for input noise",
        gained - _reference_gain(scope, "input_noise"),
    )


def _detects_poison(scope: Scope) -> Judgement:
    rows = _most_harmful(scope, "poison")
    random = by_seed(rows, "planted", method="random")
    return of_each(
        f"planted rows among the top 1000, less those among as many random ones ({random.mean():.0f})",
        {method: by_seed(rows, "planted", method=method) - random for method in (*BASELINES, *EWC)},
        most=True,
    )


def _above_reference(scope: Scope) -> Judgement:
    rows, reference = inputs.repairs(scope, "poison"), inputs.references(scope, "poison")
    semi = by_seed(reference, "holdout_accuracy", name="planted removed, fine-tuned")
    return of_each(
        "holdout accuracy less that fine-tuned without the planted rows",
        {method: by_seed(rows, "holdout_accuracy", method=method) - semi for method in (*BASELINES, *EWC)},
        most=True,
    )


_NOISE = "Sec. 4.1, random input noise"
_POISON = "Sec. 4.1, adversarial poisoning"
INPUTS = (
    Claim(f"{_NOISE}", "The corrupted images make up roughly 12% of the training set.", _planted_share),
    Claim(f"{_NOISE}; Fig. 4a", "EWC-influence largely avoids the corrupted images.", _avoids),
    Claim(
        f"{_NOISE}; Fig. 4a",
        "Removing its causes gives the best accuracy on failures.",
        lambda scope: _best_repair(scope, "input_noise"),
    ),
    Claim(
        f"{_NOISE}; Fig. 4a",
        "Performance elsewhere is kept at a level similar to the baselines'.",
        lambda scope: _similar_remaining(scope, "input_noise"),
    ),
    Claim(
        f"{_NOISE}; Fig. 4a",
        "Removing all input noise and retraining does not fix the failures by much.",
        _harmless_noise,
    ),
    Claim(
        "B.3; Fig. 8",
        "The most detrimental rows belong to the classes without noise.",
        lambda scope: of_ewc(
            "share of the top 16 in those classes",
            share_of_first(scope, "input_noise", "ASC", f"label NOT IN ({scope.targets('input_noise')})"),
            above=0.5,
        ),
    ),
    Claim(
        "B.3; Fig. 8",
        "None of the 16 most harmful rows is corrupted with input noise.",
        lambda scope: of_ewc(
            "share not planted",
            share_of_first(scope, "input_noise", "ASC", "NOT corrupted"),
            above=0.95,
        ),
    ),
    Claim(f"{_POISON}; Fig. 4c", "Most methods detect the poisoned rows better than random.", _detects_poison),
    Claim(
        f"{_POISON}; Fig. 4c",
        "Removing all poisoned rows gains significantly more on failures than removing random noise.",
        _harmful_poison,
    ),
    Claim(f"{_POISON}; Fig. 4c", "Most methods still outperform that reference by a large margin.", _above_reference),
    Claim(
        f"{_POISON}; Fig. 4c",
        "EWC-influence picks the most important rows, judged by the accuracy on failures.",
        lambda scope: _best_repair(scope, "poison"),
    ),
)
