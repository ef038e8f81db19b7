"""The charts of a report, drawn from the stored tables."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from repair_pipeline.datasets.labels import members
from repair_pipeline.reporting.descriptions import shortened, signed
from repair_pipeline.reporting.evidence import YARDSTICKS, Evidence
from repair_pipeline.reporting.picture import BLUE, GREY, INK, SKY, VERMILLION, Numbers, Picture, canvas

_MOST_CLASSES = 20
_PLACES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0)
"""Shares of the training rows at which the table beside the chart lists the detection curves."""
_LONGEST = 20
"""Letters of a class name that fit beside an axis."""


def failure_classes(evidence: Evidence) -> Picture:
    """Bar chart of failures by class, most failures first."""
    part, test = evidence.partition, evidence.data.test
    groups = members(test.labels, evidence.data.classes) or {"all texts": torch.ones(len(test), dtype=torch.bool)}
    parts = (part.query, part.query_tuning, part.unused_query, part.holdout)
    failed = test.having(frozenset(name for each in parts for name in each.ids.tolist()))
    names = list(groups)
    counts, sizes = (np.array([int((mask & of).sum()) for mask in groups.values()]) for of in (failed, failed | True))
    worst = [at for at in np.argsort(-counts, kind="stable")[:_MOST_CLASSES] if counts[at]]
    figure, ax = canvas(0.7 + 0.27 * len(worst))
    bars = ax.barh(range(len(worst)), counts[worst], color=BLUE, height=0.7)
    ax.bar_label(bars, [f"{counts[at]} of {sizes[at]}" for at in worst], padding=4, fontsize=9)
    ax.set_yticks(range(len(worst)), [shortened(names[at], _LONGEST) for at in worst])
    ax.set(xlabel="failures among the class's test rows", xlim=(0, 1.25 * counts.max()))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    listed = ", ".join(f"{names[at]}: {counts[at]} of {sizes[at]}" for at in worst)
    numbers = Numbers(
        ("Class", "Failures", "Test rows"), [(names[at], int(counts[at]), int(sizes[at])) for at in worst]
    )
    return Picture(figure, f"Bar chart of failures by class, most first. {listed}.", numbers)


def detection_curve(evidence: Evidence) -> Picture:
    """Planted rows found against rows inspected, for each method, a perfect ranking and a random one."""
    rows, planted = len(evidence.data.fit.examples), evidence.planted
    figure, ax = canvas(3.5)
    ax.plot(
        [0, planted, rows], [0, planted, planted], color=INK, ls=":", lw=1.4, marker="", label="oracle, perfect order"
    )
    for row in evidence.detection:
        if row["method"] not in YARDSTICKS:
            points = [(at["inspected"], at["found"]) for at in evidence.curve if at["method"] == row["method"]]
            ax.plot(
                *zip(*points, strict=True), lw=1.8, ms=5, markevery=0.12, label=f"{row['method']}, AUC {row['auc']:.3f}"
            )
    ax.plot([0, rows], [0, planted], color=GREY, ls=(0, (2, 3)), lw=1.4, marker="", label="random, on average")
    ax.set(xlabel="training rows inspected, most harmful first", ylabel="planted rows found")
    ax.set(xlim=(0, rows), ylim=(0, 1.04 * planted))
    ax.legend(loc="lower right")
    found_by_method = [
        f"{row['method']} {round(row['precision_at_n'] * planted)}"
        for row in evidence.detection
        if row["method"] not in YARDSTICKS
    ]
    return Picture(
        figure,
        f"Line chart of planted rows found against training rows inspected. After {planted} of {rows} rows: "
        f"{', '.join(found_by_method)}; a perfect order finds {planted}, and a random one finds "
        f"{planted**2 / rows:.0f} on average.",
        _curve_table(evidence),
    )


def _curve_table(evidence: Evidence) -> Numbers:
    """The curves at a few numbers of inspected rows: each method's last point at or before that number."""
    rows, planted = len(evidence.data.fit.examples), evidence.planted
    methods = [row["method"] for row in evidence.detection if row["method"] not in YARDSTICKS]

    def found(method: str, inspected: int) -> int:
        reached = [at["found"] for at in evidence.curve if at["method"] == method and at["inspected"] <= inspected]
        return max(reached, default=0)

    places = sorted({*(round(share * rows) for share in _PLACES), planted})
    return Numbers(
        ("Rows inspected", "Perfect order", *methods, "Random, on average"),
        [
            (at, min(at, planted), *(found(method, at) for method in methods), f"{at * planted / rows:.0f}")
            for at in places
        ],
    )


def influence_histogram(evidence: Evidence) -> Picture:
    """Histogram of influence, planted and other rows apart, with the neutral value if the method's scores have one."""
    assert evidence.scores is not None
    values, planted = evidence.scores.values.numpy(), evidence.data.fit.corrupted.numpy()
    width = (values.max() - values.min()) / 40 or 1.0
    neutral = evidence.scores.neutral
    # Make the neutral value an edge, so that no bar mixes harmful and helpful rows.
    middle = neutral or 0.0
    low, high = np.floor((values.min() - middle) / width), np.ceil((values.max() - middle) / width)
    edges = (middle + width * np.arange(low, high + 1.5)).tolist()
    figure, ax = canvas(3.3)
    clean = "not planted" if planted.any() else "training rows"
    ax.hist(values[~planted], edges, color=SKY, edgecolor=BLUE, linewidth=0.6, label=clean)
    if planted.any():
        ax.hist(
            values[planted],
            edges,
            histtype="stepfilled",
            facecolor="none",
            edgecolor=VERMILLION,
            linewidth=1.4,
            hatch="////",
            label="planted",
        )
    if neutral is not None:
        ax.axvline(neutral, color=INK, lw=1.2)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.7)
    ax.yaxis.set_major_formatter(FuncFormatter("{:g}".format))
    unit = f" ({evidence.scores.unit})" if evidence.scores else ""
    sides = "higher is more harmful" if neutral is None else f"helpful below {neutral:.2g}, harmful above"
    ax.set(xlabel=f"influence r̃ by {evidence.method}{unit}: {sides}", ylabel="rows (log scale)")
    ax.legend(loc="upper right")
    shares = ""
    if neutral is not None:
        above = values > neutral
        shares = f" {above.sum()} of {len(values)} training rows lie above the neutral value, {neutral:.2g}"
        shares += f", among them {above[planted].sum()} of the {planted.sum()} planted." if planted.any() else "."
    return Picture(
        figure,
        f"Histogram of influence by {evidence.method}{unit}, from {values.min():.2f} to {values.max():.2f}; "
        f"higher is more harmful.{shares}",
        _binned(values, planted, edges),
    )


def _binned(values: NDArray[np.float64], planted: NDArray[np.bool_], edges: list[float]) -> Numbers:
    """The bars that are not empty, as a table."""
    counted = [np.histogram(values[which], edges)[0].tolist() for which in (~planted, planted)]
    bars = list(zip(edges[:-1], edges[1:], *counted, strict=True))
    if planted.any():
        head: tuple[str, ...] = ("Influence from", "To", "Not planted", "Planted")
        return Numbers(head, [(signed(a), signed(b), n, m) for a, b, n, m in bars if n + m])
    return Numbers(("Influence from", "To", "Training rows"), [(signed(a), signed(b), n) for a, b, n, _ in bars if n])


def label_noise(evidence: Evidence) -> Picture:
    """Counts of fit rows by true and given label, for the classes with wrong labels."""
    fit, names = evidence.data.fit, evidence.data.classes
    given, true = fit.examples.labels.numpy(), fit.clean_labels.numpy()
    mixed = sorted({*given[given != true], *true[given != true]})
    table = np.array([[((true == t) & (given == g)).sum() for g in mixed] for t in mixed])
    figure, ax = canvas(0.9 + 0.42 * len(mixed))
    ax.imshow(table, cmap="Blues", vmin=0, vmax=1.6 * table.max(), aspect="auto")
    for t, g in zip(*table.nonzero(), strict=True):
        ax.text(g, t, str(table[t, g]), ha="center", va="center", fontweight="normal" if t == g else "bold")
    ticks = [shortened(names[at], _LONGEST) for at in mixed]
    upright = max(map(len, ticks)) * len(ticks) <= 30
    ax.set_xticks(range(len(mixed)), ticks, rotation=0 if upright else 90)
    ax.set_yticks(range(len(mixed)), ticks)
    ax.set(xlabel="given label", ylabel="true label")
    ax.grid(visible=False)
    flips = [
        f"{names[t]} given as {names[g]}: {n}"
        for t, line in zip(mixed, table, strict=True)
        for g, n in zip(mixed, line, strict=True)
        if t != g and n
    ]
    numbers = Numbers(
        ("True label", *(f"Given {names[at]}" for at in mixed)),
        [(names[at], *line) for at, line in zip(mixed, table.tolist(), strict=True)],
    )
    return Picture(figure, f"Table of true against given labels of the training rows. {', '.join(flips)}.", numbers)
