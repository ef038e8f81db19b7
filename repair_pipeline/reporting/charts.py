"""The charts, each from the tables."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from repair_pipeline.reporting.evidence import YARDSTICKS, Evidence
from repair_pipeline.reporting.picture import BLUE, GREY, INK, SKY, VERMILLION, WIDTH, Picture, canvas
from repair_pipeline.reporting.words import by_kind, kind, short_name, shortened
from repair_pipeline.types import Examples

_MOST_CLASSES = 20
_LONGEST = 20
"""Letters of a class name beside an axis."""


def failure_classes(evidence: Evidence) -> Picture:
    """Failures by class, most first."""
    part, names = evidence.partition, evidence.data.classes
    failed = Examples.concat([part.query, part.query_tuning, part.unused_query, part.holdout]).labels
    counts, sizes = (np.bincount(labels, minlength=len(names)) for labels in (failed, evidence.data.test.labels))
    worst = [at for at in np.argsort(-counts, kind="stable")[:_MOST_CLASSES] if counts[at]]
    figure, ax = canvas(0.7 + 0.27 * len(worst))
    bars = ax.barh(range(len(worst)), counts[worst], color=BLUE, height=0.7)
    ax.bar_label(bars, [f"{counts[at]} of {sizes[at]}" for at in worst], padding=4, fontsize=9)
    ax.set_yticks(range(len(worst)), [shortened(names[at], _LONGEST) for at in worst])
    ax.set(xlabel="failures among the class's test rows", xlim=(0, 1.25 * counts.max()))
    ax.invert_yaxis()
    ax.grid(visible=False, axis="y")
    listed = ", ".join(f"{names[at]}: {counts[at]} of {sizes[at]}" for at in worst)
    return Picture(figure, f"Bar chart of failures by class, most first. {listed}.")


def detection_curve(evidence: Evidence) -> Picture:
    """Planted rows found against rows inspected, with the best and the blind order."""
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
    found = [
        f"{row['method']} {round(row['precision_at_n'] * planted)}"
        for row in evidence.detection
        if row["method"] not in YARDSTICKS
    ]
    return Picture(
        figure,
        f"Line chart of planted rows found against training rows inspected. After {planted} of {rows} rows: "
        f"{', '.join(found)}; a perfect order finds {planted}, a random one {planted**2 / rows:.0f} on average.",
    )


def influence_histogram(evidence: Evidence) -> Picture:
    """Influence of planted and clean rows about zero."""
    assert evidence.scores is not None
    values, planted = evidence.scores.values.numpy(), evidence.data.fit.corrupted.numpy()
    width = (values.max() - values.min()) / 40 or 1.0
    # Zero is an edge, so that no bar holds harmful and helpful rows together.
    edges = (width * np.arange(np.floor(values.min() / width), np.ceil(values.max() / width) + 1.5)).tolist()
    figure, ax = canvas(3.3)
    clean = "not planted" if planted.any() else "training rows"
    ax.hist(values[~planted], edges, color=SKY, edgecolor="white", linewidth=0.4, label=clean)
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
    ax.axvline(0, color=INK, lw=1.2)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.7)
    ax.yaxis.set_major_formatter(FuncFormatter("{:g}".format))
    unit = f" ({evidence.scores.unit})" if evidence.scores else ""
    ax.set(xlabel=f"influence r̃ by {evidence.method}{unit}: below 0 helps, above 0 harms", ylabel="rows (log scale)")
    ax.legend(loc="upper right")
    shares = f"{(values > 0).sum()} of {len(values)} training rows lie above zero"
    if planted.any():
        shares += f", among them {(values[planted] > 0).sum()} of the {planted.sum()} planted"
    return Picture(
        figure,
        f"Histogram of influence by {evidence.method}{unit}, from {values.min():.2f} to {values.max():.2f}; above "
        f"zero is harmful. {shares}.",
    )


def recovery(evidence: Evidence) -> Picture:
    """Holdout beside remaining, a line for every row of the recovery table."""
    marks = {
        "before": (GREY, "X", GREY),
        "repair": (BLUE, "o", BLUE),
        "control": (VERMILLION, "s", "white"),
        "reference": (INK, "D", "white"),
    }
    rows = by_kind(evidence.recovery)
    figure = Figure(figsize=(WIDTH, 1.1 + 0.3 * len(rows)), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for ax, part in zip(axes, ("holdout", "remaining"), strict=True):
        shares = [100 * row[f"{part}_accuracy"] for row in rows]
        low = 0.0 if part == "holdout" else max(0.0, 10 * np.floor(min(shares) / 10 - 0.01))
        for at, (row, share) in enumerate(zip(rows, shares, strict=True)):
            edge, marker, face = marks[kind(row)]
            ax.plot(share, at, marker=marker, ls="", ms=7, mec=edge, mfc=face, mew=1.6, label=kind(row), clip_on=False)
            ax.annotate(f"{share:.1f}", (share, at), (8, 0), textcoords="offset points", va="center", fontsize=9)
        ax.set_xlim(low - 0.06 * (100 - low), 100 + 0.42 * (100 - low))
        ax.set_xticks(np.linspace(low, 100, 3))
        ax.set(title=f"{part} (%)", ylim=(len(rows) - 0.5, -0.5))
        ax.spines.left.set_visible(False)
        ax.tick_params(axis="y", length=0, labelsize=9)
        ax.title.set_fontsize(10)
    axes[0].set_yticks(range(len(rows)), [short_name(row) for row in rows])
    handles = dict(zip(*axes[0].get_legend_handles_labels()[::-1], strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, handlelength=1)
    listed = "; ".join(f"{short_name(r)} {r['holdout_accuracy']:.1%} and {r['remaining_accuracy']:.1%}" for r in rows)
    return Picture(figure, f"Dot chart of accuracy on the holdout and on the remaining rows. {listed}.")


def label_noise(evidence: Evidence) -> Picture:
    """Given against true labels of the fit rows, over the classes that were mixed up."""
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
    return Picture(figure, f"Table of true against given labels of the training rows. {', '.join(flips)}.")
