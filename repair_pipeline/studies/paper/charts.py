"""The study's charts: means over seeds with standard deviations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from repair_pipeline.reporting.picture import FAINT, GREY, INK, WIDTH, Picture, look
from repair_pipeline.studies.paper.scope import METHODS

SHARES = {"holdout_accuracy": "holdout", "remaining_accuracy": "remaining"}
"""The accuracies that a repair is judged by, and their names in charts."""
_ORDER = (*METHODS, "loss", "oracle", "random")
_NEAR = 0.95
_DASHES: Sequence[object] = (":", (0, (6, 2)), (0, (2, 2, 6, 2)), (0, (1, 3)))


def curves(
    rows: pd.DataFrame, x: str, xlabel: str, panels: Mapping[str, str], references: pd.DataFrame | None = None
) -> Picture:
    """Line charts of means over seeds against ``x``: a panel for every column, a line for every method.

    Args:
        rows: columns ``method``, ``seed``, ``x`` and those of ``panels``.
        x: the column on the horizontal axis.
        xlabel: its label.
        panels: the columns to draw, with their labels.
        references: values that depend on no method, drawn as horizontal lines; column ``name`` instead of ``method``
            and ``x``.
    """
    with look():
        columns = min(2, len(panels))
        lines = -(-len(panels) // columns)
        figure = Figure(figsize=(WIDTH * 0.85 * columns, 2.7 * lines + 0.5), layout="constrained")
        axes = figure.subplots(lines, columns, squeeze=False).ravel()
        for ax, (column, label) in zip(axes, panels.items(), strict=False):
            for method, style in _styles(rows["method"].unique()).items():
                line = rows[rows["method"] == method].groupby(x)[column].agg(["mean", "std"])
                drawn = {"lw": 1.5, "ms": 5, "elinewidth": 0.8, "capsize": 2, "label": method}
                ax.errorbar(line.index, line["mean"], line["std"].fillna(0), **drawn, **style)
            if references is not None:
                for dash, (name, group) in zip(_DASHES, references.groupby("name", sort=False), strict=False):
                    ax.axhline(group[column].mean(), color=INK, lw=1.2, ls=dash, marker="", label=name)
            ax.set(xlabel=xlabel, ylabel=label)
        for ax in axes[len(panels) :]:
            ax.set_axis_off()
        handles = dict(zip(*axes[0].get_legend_handles_labels()[::-1], strict=True))
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4)
    return Picture(figure, f"Line charts against {xlabel}. {_final_means(rows, x, panels)}")


def trade_off(rows: pd.DataFrame, varied: str) -> Picture:
    """Holdout against remaining accuracy: a mark for the mean of each setting, larger for a larger setting.

    Args:
        rows: columns ``name``, ``setting``, ``seed`` and both accuracies; the settings of a name in increasing order.
        varied: the name of the varied setting, for the axis.
    """
    points = rows.groupby(["name", "setting"], sort=False)[list(SHARES)].mean().reset_index()
    with look():
        figure = Figure(figsize=(WIDTH * 1.7, 4.2), layout="constrained")
        whole, near = figure.subplots(1, 2)
        for ax in (whole, near):
            for name, group in points.groupby("name", sort=False):
                x, y = group["remaining_accuracy"], group["holdout_accuracy"]
                (line,) = ax.plot(x, y, lw=0.9, ms=0)
                style = {"color": line.get_color(), "marker": line.get_marker(), "label": name}
                ax.scatter(x, y, s=24 + 22 * np.arange(len(group)), zorder=3, **style)
            ax.set(xlabel=f"remaining accuracy; larger marks: larger {varied}", ylabel="holdout accuracy")
        near.set(xlim=(_NEAR, 1.002), title=f"the same, from {_NEAR:g} on")
        figure.legend(*whole.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    listed = "; ".join(
        f"{p['name']} {p['setting']}: {p['holdout_accuracy']:.3f} and {p['remaining_accuracy']:.3f}"
        for _, p in points.iterrows()
    )
    return Picture(figure, f"Holdout and remaining accuracy, mean over seeds. {listed}.")


def bars(ax: Axes, rows: pd.DataFrame, column: str, title: str, levels: Mapping[str, float]) -> None:
    """The mean of ``column`` for every method with its standard deviation, and horizontal lines at ``levels``."""
    values = rows.groupby("method", sort=False)[column].agg(["mean", "std"])
    ax.bar(
        values.index, values["mean"], yerr=values["std"].fillna(0), color=FAINT, edgecolor=GREY, ecolor=GREY, capsize=2
    )
    for dash, (name, level) in zip(_DASHES, levels.items(), strict=False):
        ax.axhline(level, color=INK, lw=1.2, ls=dash, marker="", label=name)
    ax.set_title(title, fontsize=10)
    ax.tick_params(axis="x", labelrotation=60, labelsize=8)
    ax.grid(visible=False, axis="x")


def matrix(table: pd.DataFrame, xlabel: str, ylabel: str) -> Picture:
    """Signed numbers as a heat map, blue above zero and red below."""
    values = table.to_numpy(dtype=float)
    with look():
        figure = Figure(figsize=(WIDTH, 0.9 + 0.55 * len(table)), layout="constrained")
        ax = figure.add_subplot()
        limit = np.abs(values).max() * 1.6 or 1.0
        ax.imshow(values, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            ax.text(j, i, f"{value:+.3f}", ha="center", va="center")
        ax.set_xticks(range(len(table.columns)), table.columns)
        ax.set_yticks(range(len(table)), table.index)
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.grid(visible=False)
    cells = "; ".join(f"{i}, {j}: {table.loc[i, j]:+.3f}" for i in table.index for j in table.columns)
    return Picture(figure, f"Table of {ylabel} by {xlabel}. {cells}.")


def _styles(methods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """A line style for each method, the same in every chart."""
    cycle = list(rcParams["axes.prop_cycle"])
    known = [method for method in _ORDER if method in set(methods)]
    others = [method for method in methods if method not in known]
    return {m: cycle[_ORDER.index(m)] for m in known} | dict(zip(others, cycle, strict=False))


def _final_means(rows: pd.DataFrame, x: str, panels: Mapping[str, str]) -> str:
    last = rows.groupby("method", sort=False)[x].transform("max") == rows[x]
    means = rows[last].groupby("method", sort=False)[list(panels)].mean()
    return "; ".join(
        f"{label} at the right end: " + ", ".join(f"{method} {means.loc[method, column]:.3f}" for method in means.index)
        for column, label in panels.items()
    )
