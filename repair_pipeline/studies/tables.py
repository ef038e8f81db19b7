"""Means and deviations over seeds, as a reader wants them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import t


def markdown(table: pd.DataFrame) -> str:
    """A table in Markdown, cells as they are."""
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join("| " + " | ".join(map(str, row)) + " |\n" for row in rows)


def mean_sd(rows: pd.DataFrame, keys: list[str], values: list[str], digits: int = 3) -> pd.DataFrame:
    """``mean ± sd`` of each value over the rows that share ``keys``, in the order of first appearance."""

    def shown(column: pd.Series) -> str:
        known = column.dropna()
        return f"{known.mean():.{digits}f} ± {known.std():.{digits}f}" if len(known) else "–"

    groups = rows.groupby(keys, sort=False, dropna=False)
    return (
        groups.agg({"seed": "nunique", **dict.fromkeys(values, shown)}).rename(columns={"seed": "seeds"}).reset_index()
    )


def gain(rows: pd.DataFrame, control: pd.DataFrame, pair: list[str], keys: list[str], value: str) -> pd.DataFrame:
    """The mean gain of ``value`` over the control with the same ``pair``, with Student's 95% interval over seeds."""
    paired = rows.merge(control[[*pair, value]], on=pair, suffixes=("", "_control"))
    paired["gain"] = paired[value] - paired[f"{value}_control"]

    def shown(column: pd.Series) -> str:
        half = t.ppf(0.975, len(column) - 1) * column.std() / np.sqrt(len(column)) if len(column) > 1 else np.nan
        return f"{column.mean():+.3f} [{column.mean() - half:+.3f}, {column.mean() + half:+.3f}]"

    return paired.groupby(keys, sort=False, dropna=False)["gain"].agg(shown).reset_index()
