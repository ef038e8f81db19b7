"""The gate on simulated repairs: how often it is wrong where there is nothing to find, and what it finds otherwise."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float64
from scipy.stats import binomtest, t

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.evaluation.gate import Gate, Outcomes, judge
from repair_pipeline.reporting.picture import Picture
from repair_pipeline.storage.files import write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.study import Piece, Stage

_CLASSES = ("only",)
_SHARE = 0.13
"""The share of failures among the test rows."""
_REMAINING = 6
"""Remaining rows for each held-out failure."""
_CANDIDATES, _TUNING = 7, 20
"""Where the judged model is chosen: among how many, and on how many tuning rows."""


@dataclass(frozen=True)
class Setting:
    """A population of repairs and controls.

    A control fixes each failure with its own probability, drawn from a beta distribution with the mean ``fixes``. A
    seed adds a normal variable to all of them.
    """

    name: str
    gain: float = 0.0
    """The failures that the repair fixes beyond its controls, as a share of all."""
    holdout: int = 60
    fixes: float = 0.4
    seed_spread: float = 0.08
    """The standard deviation of the share that a seed fixes."""
    other_rows: bool = False
    """Whether the repair fixes other failures than its controls do, though no more of them."""
    selected: bool = False
    """Whether the judged model is the best of several on tuning rows."""


NULLS = (
    Setting("15 held-out failures", holdout=15),
    Setting("60 held-out failures", holdout=60),
    Setting("400 held-out failures", holdout=400),
    Setting("seeds do not vary", seed_spread=0.0),
    Setting("seeds vary by 0.15", seed_spread=0.15),
    Setting("controls fix a tenth", fixes=0.1),
    Setting("the repair fixes other rows", other_rows=True),
    Setting("chosen among 7 on 20 tuning rows", selected=True),
)
"""Settings in which the repair is no better than its controls."""
HOLDOUTS, GAINS = (15, 30, 60, 120, 400), (0.05, 0.1, 0.17, 0.33, 0.5)
POWER = tuple(
    Setting(f"{gain:g} of {holdout}", gain=gain, holdout=holdout, fixes=0.3) for holdout in HOLDOUTS for gain in GAINS
)


@dataclass(frozen=True)
class GateSimulation:
    """The study ``gate_simulation``: verdicts on simulated outcomes, beside those of the earlier gate."""

    runs: int = 1000
    settings: Sequence[Setting] = (*NULLS, *POWER)
    name: str = "gate_simulation"

    def cases(self) -> list[CaseSpec]:
        return []

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        pieces = [
            Piece(setting.name, {path: self.runs / 250}, partial(_simulate, setting, self.runs, path))
            for setting in self.settings
            for path in [self._file(layout, setting)]
        ]
        return [Stage(pieces)]

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        return {}

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        made = [path for setting in self.settings if (path := self._file(layout, setting)).exists()]
        if not made:
            return {}
        rows = pd.DataFrame([json.loads(path.read_text(encoding="utf-8")) for path in made])
        errors = rows[rows["gain"] == 0]
        powers = rows[rows["gain"] > 0]
        counts = ["accepted", "not_proven", "rejected", "not_a_data_problem", "earlier"]
        shares = {count: rows[count] / rows["runs"] for count in counts}
        level = errors.assign(**shares)[["name", *counts]].rename(columns={"name": "nothing to find"})
        level["accepted, 95%"] = [
            "{:.4f} to {:.4f}".format(*binomtest(row.accepted, row.runs).proportion_ci(0.95))
            for row in errors.itertuples()
        ]
        power = powers.assign(**shares)[["holdout", "gain", *counts, "detectable"]]
        return {"level": level, "power": power}

    def _file(self, layout: Layout, setting: Setting) -> Path:
        return layout.study(self.name) / "settings" / f"{setting.name.replace(' ', '-')}-{self.runs}.json"


def _simulate(setting: Setting, runs: int, path: Path) -> list[str]:
    rng, gate = numpy_stream(0, f"gate_simulation/{setting.name}"), Gate()
    counts = {"accepted": 0, "recommended": 0, "not_proven": 0, "rejected": 0, "not_a_data_problem": 0, "earlier": 0}
    detectable = 0.0
    for _ in range(runs):
        outcomes = _outcomes(setting, gate.controls, rng)
        (verdict,) = judge(gate, [outcomes], _CLASSES, rng, resamples=200)
        counts[verdict.verdict] += 1
        counts["earlier"] += _earlier(_outcomes(setting, 2 * gate.controls - 1, rng))
        detectable += verdict.detectable / runs
    row = {**asdict(setting), "runs": runs, **counts, "detectable": detectable}
    write_text(path, json.dumps(row))
    return []


def _outcomes(setting: Setting, controls: int, rng: np.random.Generator) -> Outcomes:
    rows, remaining = setting.holdout, _REMAINING * setting.holdout

    def chances(mean: float, count: int) -> Float64[np.ndarray, " n"]:
        return rng.beta(2 * mean, 2 * (1 - mean), size=count)

    easy = chances(setting.fixes, rows)
    easy_for_repair = chances(setting.fixes, rows) if setting.other_rows else easy
    fragile = chances(0.01, remaining)

    def models(count: int, easy: Float64[np.ndarray, " h"], gain: float) -> list[Bool[np.ndarray, "k n"]]:
        ability = setting.seed_spread * rng.normal(size=(count, 1))
        # Failures that are certainly fixed, or never, do not depend on the seed; the mean effect is that of the seed.
        movable = easy * (1 - easy) / max(float((easy * (1 - easy)).mean()), 1e-9)
        fixed = rng.random((count, rows)) < np.clip(easy + ability * movable + gain, 0, 1)
        return [fixed, rng.random((count, remaining)) >= fragile]

    repairs = models(controls, easy_for_repair, setting.gain)
    judged = [part[0] for part in repairs]
    if setting.selected:
        candidates = models(_CANDIDATES, easy_for_repair, setting.gain)
        skill = candidates[0].mean(axis=1)  # tuning rows show a candidate's ability with the error of so few rows
        best = int(rng.binomial(_TUNING, skill).argmax())
        judged = [part[best] for part in candidates]
    of_controls = models(controls, easy, 0.0)
    return Outcomes(
        repaired_holdout=judged[0],
        repaired_remaining=judged[1],
        repairs_holdout=repairs[0],
        repairs_remaining=repairs[1],
        controls_holdout=of_controls[0],
        controls_remaining=of_controls[1],
        remaining_labels=np.zeros(remaining, dtype=np.int64),
        share=_SHARE,
        removed=1,
    )


def _earlier(outcomes: Outcomes) -> bool:
    """Whether the earlier gate proved an advantage: on the holdout, of the judged model over all controls.

    It had as many fits: all but one were controls. The half-width was Student's for one more seed and other rows.
    """
    repaired, controls = outcomes.repaired_holdout, outcomes.controls_holdout
    seeds, rows = controls.shape
    difference = repaired - controls.mean(axis=0)
    parts = [
        (controls.mean(axis=1).var(ddof=1) * (1 + 1 / seeds), seeds - 1),
        (difference.var(ddof=1) / rows, rows - 1),
    ]
    variance = sum(part for part, _ in parts)
    freedom = variance**2 / max(sum(part**2 / free for part, free in parts), 1e-300)
    beats_best = repaired.sum() > controls.sum(axis=1).max()
    return bool(beats_best and difference.mean() > t.ppf(0.975, max(freedom, 1.0)) * variance**0.5)
