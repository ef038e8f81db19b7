"""What the paper's text claims, one by one, and whether it holds here.

A claim about EWC-influence is judged twice: as the paper describes the method (``ewc_paper``) and as we run it
(``ewc``). It is reproduced where it holds as described, different where it holds only as we run it or only in part, and
else not reproduced. To hold, the 95% interval over seeds must lie on the claimed side; where it only reaches that side,
the claim is not reproduced and left open.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from repair_pipeline.studies.paper import inputs, removal
from repair_pipeline.studies.paper.part import Part
from repair_pipeline.studies.paper.query_size import QuerySize
from repair_pipeline.studies.paper.run_time import RunTime
from repair_pipeline.studies.paper.scope import PAPERS, Scope
from repair_pipeline.studies.paper.treatments import Treatments
from repair_pipeline.studies.tables import Interval

Verdict = Literal["reproduced", "different", "not reproduced"]
_BASELINES = tuple(name for name in PAPERS if not name.startswith("ewc"))
_EWC = ("ewc_paper", "ewc")
_AS_MUCH = 0.01
"""Within this, an accuracy counts as kept."""
_MUCH = 0.1
"""What a gain in accuracy is called more than a little from."""


class NotMeasuredError(Exception):
    """A part that the claim rests on has not been run."""


@dataclass(frozen=True)
class Judgement:
    """A verdict and the figures it rests on."""

    verdict: Verdict
    figures: str


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper's, and how it is judged."""

    where: str
    says: str
    judge: Callable[[Scope], Judgement]


class Claims(Part):
    """Every claim beside what all other parts found."""

    name = "claims"

    def tables(self, scope: Scope) -> dict[str, pd.DataFrame]:
        rows = []
        for claim in CLAIMS:
            try:
                judged = claim.judge(scope)
            except NotMeasuredError:
                continue
            rows.append({"where": claim.where, "claim": claim.says, "verdict": judged.verdict, "here": judged.figures})
        return {"Claims": pd.DataFrame(rows, columns=["where", "claim", "verdict", "here"])}


# How a claim is judged.


def _one(what: str, value: pd.Series) -> Judgement:
    """``value``, one a seed, is above zero."""
    interval = _interval(value)
    verdict: Verdict = "reproduced" if interval.low > 0 else "not reproduced"
    return Judgement(verdict, f"{what}: {interval}{_left_open(verdict, interval.high > 0)}")


def _ewc(what: str, value: Callable[[str], pd.Series], above: float = 0.0) -> Judgement:
    """``value`` of EWC-influence is above a bound."""
    return _first_or_second({f"`{method}`": value(method) for method in _EWC}, what, above)


def _first_or_second(values: Mapping[str, pd.Series], what: str, above: float = 0.0) -> Judgement:
    """The first, as the paper describes it, is above a bound; or else the second, as we run it."""
    intervals = {name: _interval(value) for name, value in values.items()}
    papers, ours = intervals.values()
    verdict: Verdict = "reproduced" if papers.low > above else "different" if ours.low > above else "not reproduced"
    return _several(verdict, what, intervals, above)


def _bound(above: float) -> str:
    return f", asked to be above {above:g}" if above else ""


def _all(what: str, values: Mapping[str, pd.Series], most: bool = False, above: float = 0.0) -> Judgement:
    """Each of ``values`` is above a bound, or most of them are."""
    intervals = {name: _interval(value) for name, value in values.items()}
    hold = sum(interval.low > above for interval in intervals.values())
    enough = hold > len(intervals) / 2 if most else hold == len(intervals)
    verdict: Verdict = "reproduced" if enough else "different" if hold else "not reproduced"
    return _several(verdict, what, {f"`{name}`": interval for name, interval in intervals.items()}, above)


def _several(verdict: Verdict, what: str, intervals: Mapping[str, Interval], above: float) -> Judgement:
    listed = ", ".join(f"{name} {interval}" for name, interval in intervals.items())
    unsettled = _left_open(verdict, any(interval.high > above for interval in intervals.values()))
    return Judgement(verdict, f"{what}{_bound(above)}: {listed}{unsettled}")


def _left_open(verdict: Verdict, could_hold: bool) -> str:
    return "; so few seeds leave it open" if verdict == "not reproduced" and could_hold else ""


def _interval(value: pd.Series) -> Interval:
    if value.dropna().empty:
        raise NotMeasuredError
    return Interval.of(value)


def _by(rows: pd.DataFrame, column: str, **where: object) -> pd.Series:
    """A column by seed, of the rows that are as ``where`` says; averaged where there are several."""
    for key, wanted in where.items():
        rows = rows[rows[key] == wanted]
    return rows.groupby("seed")[column].mean()


def _best(rows: pd.DataFrame, column: str, **where: object) -> pd.Series:
    """The best of the paper's baselines, seed by seed."""
    values = [_by(rows, column, method=method, **where) for method in _BASELINES if (rows["method"] == method).any()]
    if not values:
        raise NotMeasuredError
    return pd.concat(values, axis=1).max(axis=1)


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
    return _one(
        f"share of the noisy classes among failures ({rows['failed'].mean():.3f}) less that among the others",
        _by(rows, "failed") - _by(rows, "right_"),
    )


def _detection(scope: Scope, column: str) -> Callable[[str], pd.Series]:
    rows = scope.stored("detection", scope.over_seeds(scope.scored, "label_noise"))
    return lambda method: _by(rows, column, method=method) - _best(rows, column)


def _extreme(scope: Scope, corruption: str, order: str, said: str) -> Callable[[str], pd.Series]:
    """The share of the 16 first rows in some order that are as ``said``."""
    rows = scope.stored(
        f"(SELECT case_id, method, avg(CAST({said} AS DOUBLE)) AS share FROM (SELECT *, row_number() OVER "
        f"(PARTITION BY case_id, method ORDER BY rank {order}) AS place FROM influence "
        "JOIN examples USING (case_id, example_id)) WHERE place <= 16 GROUP BY case_id, method)",
        scope.over_seeds(scope.scored, corruption),
    )
    return lambda method: _by(rows, "share", method=method)


def _removal(scope: Scope) -> pd.DataFrame:
    rows = scope.found(removal.Removal.name)
    if rows.empty:
        raise NotMeasuredError
    return rows


def _highest_gain(scope: Scope) -> Judgement:
    rows = _removal(scope)
    return _ewc(
        "holdout accuracy, mean over all removals, less the best baseline's",
        lambda method: _by(rows, "holdout_accuracy", method=method) - _best(rows, "holdout_accuracy"),
    )


def _no_harm(scope: Scope) -> Judgement:
    rows, control = _removal(scope), removal.controls(scope)
    kept = _by(control, "remaining_accuracy", name="nothing removed")
    return _ewc(
        "remaining accuracy at 40% removed, less fine-tuning with nothing removed",
        lambda method: _by(rows, "remaining_accuracy", method=method, share=0.4) - kept,
        above=-_AS_MUCH,
    )


def _better_than_random(scope: Scope) -> Judgement:
    rows = _removal(scope)
    random = _by(rows, "holdout_accuracy", method="random")
    return _all(
        "holdout accuracy, mean over all removals, less random rows'",
        {method: _by(rows, "holdout_accuracy", method=method) - random for method in (*_BASELINES, *_EWC)},
    )


def _above_semi_oracle(scope: Scope) -> Judgement:
    rows, control = _removal(scope), removal.controls(scope)
    semi = _by(control, "holdout_accuracy", name="semi-oracle")
    return _all(
        "holdout accuracy at 40% (some 10³ rows) removed, less the semi-oracle's",
        {m: _by(rows, "holdout_accuracy", method=m, share=0.4) - semi for m in (*_BASELINES, *_EWC)},
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
        m: _by(rows, "holdout_accuracy", method=m, query_fraction=0.05)
        - _by(rows, "holdout_accuracy", method=m, query_fraction=1.0)
        for m in methods
    }
    return _all("holdout accuracy with 5% of the query less that with all", change, above=-_MUCH)


def _few_best(scope: Scope, column: str) -> Judgement:
    rows = _query_size(scope)
    few = rows[rows["query_fraction"] < 1]
    return _ewc(
        f"{column.replace('_', ' ')}, mean over 5% and 20% of the query, less the best baseline's",
        lambda method: _by(few, column, method=method) - _best(few, column),
    )


def _few_above_semi_oracle(scope: Scope) -> Judgement:
    rows = _query_size(scope)
    semi = _by(removal.controls(scope), "holdout_accuracy", name="semi-oracle")
    return _all(
        "holdout accuracy with 5% of the query, less the semi-oracle's",
        {m: _by(rows, "holdout_accuracy", method=m, query_fraction=0.05) - semi for m in rows["method"].unique()},
    )


def _remaining_drops(scope: Scope) -> Judgement:
    rows = _query_size(scope)
    return _ewc(
        "remaining accuracy with all of the query less that with 5%",
        lambda method: (
            _by(rows, "remaining_accuracy", method=method, query_fraction=1.0)
            - _by(rows, "remaining_accuracy", method=method, query_fraction=0.05)
        ),
    )


# Sec. 4.1, input noise and poisoning; B.3.


def _planted_share(scope: Scope) -> Judgement:
    rows = scope.stored(
        "(SELECT case_id, avg(CAST(corrupted AS INT)) AS share FROM examples WHERE split = 'fit' GROUP BY case_id)",
        scope.over_seeds(scope.scored, "input_noise"),
    )
    share = _interval(_by(rows, "share"))
    return Judgement("reproduced" if abs(share.mean - 0.12) < 0.01 else "different", f"{share.mean:.3f} of D")


def _top(scope: Scope, corruption: str) -> pd.DataFrame:
    rows = inputs.causes(scope, corruption)
    if rows.empty:
        raise NotMeasuredError
    return rows


def _avoids(scope: Scope) -> Judgement:
    rows = _top(scope, "input_noise")
    random = _by(rows, "planted", method="random")
    return _ewc(
        f"planted rows among random ones ({random.mean():.0f}) less those among the top 1000",
        lambda method: random - _by(rows, "planted", method=method),
    )


def _best_repair(scope: Scope, corruption: str) -> Judgement:
    rows = inputs.repairs(scope, corruption)
    return _ewc(
        "holdout accuracy less the best baseline's",
        lambda method: _by(rows, "holdout_accuracy", method=method) - _best(rows, "holdout_accuracy"),
    )


def _similar_remaining(scope: Scope, corruption: str) -> Judgement:
    rows = inputs.repairs(scope, corruption)
    return _ewc(
        "remaining accuracy less the best baseline's",
        lambda method: _by(rows, "remaining_accuracy", method=method) - _best(rows, "remaining_accuracy"),
        above=-2 * _AS_MUCH,
    )


def _reference_gain(scope: Scope, corruption: str) -> pd.Series:
    rows = inputs.references(scope, corruption)
    return _by(rows, "holdout_accuracy", name="planted removed, retrained") - _by(
        rows, "holdout_accuracy", name="nothing removed, retrained"
    )


def _harmless_noise(scope: Scope) -> Judgement:
    gained = _interval(_reference_gain(scope, "input_noise"))
    verdict: Verdict = "reproduced" if gained.high < _MUCH else "not reproduced"
    said = f"holdout accuracy retrained without the planted rows less retrained on all, asked to be below {_MUCH:g}"
    return Judgement(verdict, f"{said}: {gained}{_left_open(verdict, gained.low < _MUCH)}")


def _harmful_poison(scope: Scope) -> Judgement:
    gained = _reference_gain(scope, "poison")
    return _one(
        f"the same difference for poisoning ({gained.mean():+.3f}) less that for input noise",
        gained - _reference_gain(scope, "input_noise"),
    )


def _detects_poison(scope: Scope) -> Judgement:
    rows = _top(scope, "poison")
    random = _by(rows, "planted", method="random")
    return _all(
        f"planted rows among the top 1000, less those among as many random ones ({random.mean():.0f})",
        {method: _by(rows, "planted", method=method) - random for method in (*_BASELINES, *_EWC)},
        most=True,
    )


def _above_reference(scope: Scope) -> Judgement:
    rows, reference = inputs.repairs(scope, "poison"), inputs.references(scope, "poison")
    semi = _by(reference, "holdout_accuracy", name="planted removed, fine-tuned")
    return _all(
        "holdout accuracy less that fine-tuned without the planted rows",
        {method: _by(rows, "holdout_accuracy", method=method) - semi for method in (*_BASELINES, *_EWC)},
        most=True,
    )


# App. B.2.


def _seconds(scope: Scope) -> pd.DataFrame:
    rows = RunTime().rows(scope)
    if rows.empty:
        raise NotMeasuredError
    return rows[rows["corruption"] == "label_noise"]


def _faster_than_sgd(scope: Scope) -> Judgement:
    rows = _seconds(scope)
    ratio = {method: _by(rows, "total", method="sgd") / _by(rows, "total", method=method) for method in _EWC}
    verdict: Verdict = "reproduced" if _interval(ratio["ewc_paper"]).low >= 10 else "different"
    times = ", ".join(f"`{method}` {value.mean():.1f} times" for method, value in ratio.items())
    return Judgement(verdict, f"SGD-influence's seconds over those of {times}")


def _as_fast_as_linear(scope: Scope) -> Judgement:
    rows = _seconds(scope)
    fastest = pd.concat([_by(rows, "total", method=m) for m in ("linear_gd", "linear_sa")], axis=1).min(axis=1)
    return _ewc(
        "seconds of the faster linear influence over its own",
        lambda method: fastest / _by(rows, "total", method=method),
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
    return _first_or_second({said: against(rows, name) for said, name in names.items()}, what)


def _beats_newton(scope: Scope) -> Judgement:
    return _deletion(
        scope,
        lambda rows, name: _by(rows, "both", name=name) - _by(rows, "both", name="newton"),
        "mean of holdout and remaining accuracy, EWC-deletion less Newton, each at its chosen γ",
    )


def _near_finetuning(scope: Scope) -> Judgement:
    def closer(rows: pd.DataFrame, name: str) -> pd.Series:
        tuned = _by(rows, "both", name="finetune")
        return (tuned - _by(rows, "both", name="newton")).abs() - (tuned - _by(rows, "both", name=name)).abs()

    return _deletion(scope, closer, "how much closer than Newton's that mean is to fine-tuning's")


def _learning_repairs_more(scope: Scope) -> Judgement:
    rows = _treated(scope)
    return _one(
        "holdout accuracy, `l2_query` at its chosen λ less `finetune`",
        _by(rows, "holdout_accuracy", name="l2_query") - _by(rows, "holdout_accuracy", name="finetune"),
    )


def _learning_harms_more(scope: Scope) -> Judgement:
    rows = _treated(scope)
    return _one(
        "remaining accuracy, `finetune` less `l2_query` at its chosen λ (the paper: 0.06)",
        _by(rows, "remaining_accuracy", name="finetune") - _by(rows, "remaining_accuracy", name="l2_query"),
    )


def _combination_best(scope: Scope) -> Judgement:
    rows = _treated(scope)
    combined = _by(rows, "both", name="combined")
    return _all(
        "mean of holdout and remaining accuracy, `combined` less",
        {name: combined - _by(rows, "both", name=name) for name in ("finetune", "l2_query", "ewc_deletion")},
    )


_LABELS = "Sec. 4.1, annotation noise"
_NOISE = "Sec. 4.1, random input noise"
_POISON = "Sec. 4.1, adversarial poisoning"

CLAIMS: tuple[Claim, ...] = (
    Claim(f"{_LABELS}; Fig. 2b", "Failures are concentrated on the classes with label noise.", _concentrated),
    Claim(
        f"{_LABELS}; Fig. 2c",
        "EWC-influence identifies more of the mislabelled rows, earlier, than the other methods.",
        lambda scope: _ewc("AUC less the best baseline's", _detection(scope, "auc")),
    ),
    Claim(
        f"{_LABELS}; Fig. 2c",
        "It is the closest match to the oracle.",
        lambda scope: _ewc(
            "precision among as many rows as were planted, less the best baseline's",
            _detection(scope, "precision_at_n"),
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 2d",
        "The top 16 causes are mislabelled.",
        lambda scope: _ewc(
            "share planted",
            _extreme(scope, "label_noise", "ASC", "corrupted"),
            above=0.95,
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 7, B.3",
        "None of the 16 least harmful rows was corrupted.",
        lambda scope: _ewc(
            "share not planted",
            _extreme(scope, "label_noise", "DESC", "NOT corrupted"),
            above=0.95,
        ),
    ),
    Claim(
        f"{_LABELS}; Fig. 7",
        "The least harmful rows are of the same classes as the failures, with the right labels.",
        lambda scope: _ewc(
            "share in the noisy classes, not planted",
            _extreme(scope, "label_noise", "DESC", f"label IN ({scope.targets('label_noise')}) AND NOT corrupted"),
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
        lambda scope: _ewc(
            "share of the top 16 in those classes",
            _extreme(scope, "input_noise", "ASC", f"label NOT IN ({scope.targets('input_noise')})"),
            above=0.5,
        ),
    ),
    Claim(
        "B.3; Fig. 8",
        "None of the 16 most harmful rows is corrupted with input noise.",
        lambda scope: _ewc(
            "share not planted",
            _extreme(scope, "input_noise", "ASC", "NOT corrupted"),
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
