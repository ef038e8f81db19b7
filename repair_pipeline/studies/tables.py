"""Tables of means, deviations and gains over seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, with unescaped cells."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def mean_sd(rows: pd.DataFrame, keys: list[str], values: list[str], digits: int = 3) -> pd.DataFrame:
    """``mean ± sd`` of each value over the rows that agree in ``keys``, in order of first appearance; and the seeds."""

    def formatted(column: pd.Series) -> str:
        known = column.dropna()
        return f"{known.mean():.{digits}f} ± {known.std():.{digits}f}" if len(known) else "–"

    groups = rows.groupby(keys, sort=False, dropna=False)
    return (
        groups.agg({"seed": "nunique", **dict.fromkeys(values, formatted)})
        .rename(columns={"seed": "seeds"})
        .reset_index()
    )


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with Student's 95% confidence interval."""

    mean: float
    half: float
    """Half the width of the interval; nan for a single seed."""

    @staticmethod
    def of(values: pd.Series) -> Interval:
        """The interval for one value per seed."""
        known = values.dropna()
        half = t.ppf(0.975, len(known) - 1) * known.std() / np.sqrt(len(known)) if len(known) > 1 else np.nan
        return Interval(known.mean(), half)

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def gain(rows: pd.DataFrame, control: pd.DataFrame, pair: list[str], keys: list[str], value: str) -> pd.DataFrame:
    """The mean gain in ``value`` over the control that agrees in ``pair``, with an interval over seeds, by ``keys``."""
    paired = rows.merge(control[[*pair, value]], on=pair, suffixes=("", "_control"))
    paired["gain"] = paired[value] - paired[f"{value}_control"]
    return (
        paired.groupby(keys, sort=False, dropna=False)["gain"].agg(lambda gains: str(Interval.of(gains))).reset_index()
    )
