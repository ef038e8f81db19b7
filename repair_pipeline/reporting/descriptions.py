"""Readable names and descriptions for what the tables store by short names."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from repair_pipeline.influence.methods import METHODS
from repair_pipeline.reporting.evidence import Row
from repair_pipeline.treatment.protocol import Recipe, Removes
from repair_pipeline.treatment.treatments import TREATMENTS

Kind = Literal["before", "repair", "control", "reference"]
KINDS: dict[Kind, str] = {
    "before": "Before repair",
    "repair": "Repairs",
    "control": "Controls",
    "reference": "Reference",
}
"""Table headings by kind of row, in the order in which they are shown."""
MEASURES = {
    "error": "mean absolute error",
    "perplexity": "perplexity",
    "f1": "micro F1",
    "token_accuracy": "share of right tokens",
}
"""In words, the tasks' own numbers by the names that the table ``recovery`` has."""


def kind(row: Row) -> Kind:
    """Whether a row of the recovery table is a repair, a control or a reference, by the role in the catalogue."""
    treatment, method = row["treatment"], row["influence_method"]
    recipe = TREATMENTS.get(treatment)
    if recipe is None:  # of a plugin that is no longer installed
        return "repair"
    if treatment == "base":
        return "before"
    method_role = METHODS[method].role if method in METHODS else None
    role = recipe.role("causes" if method else _removes_without_method(recipe), method_role)
    return "repair" if role == "baseline" else role


def _removes_without_method(recipe: Recipe) -> Removes:
    """What a treatment removes when it uses no influence method's causes."""
    return next((removes for removes in recipe.removes if removes != "causes"), "nothing")


def by_kind(rows: Iterable[Row]) -> list[Row]:
    """Rows sorted by kind: before, repairs, controls, references; within a kind in the given order."""
    return sorted(rows, key=lambda row: list(KINDS).index(kind(row)))


def short_name(row: Row) -> str:
    """A row of the recovery table by its stored names: ``method → treatment``, and its settings."""
    treatment, method = row["treatment"], row["influence_method"]
    removed = {"before": None, "control": "nothing", "reference": "planted", "repair": None}[kind(row)]
    takes_rows = treatment in TREATMENTS and TREATMENTS[treatment].of_rows is not None
    name = f"{method or removed} → {treatment}" if method or (removed and takes_rows) else treatment
    settings = json.loads(row["setting"])
    return ", ".join([name, *(f"{key}={_formatted(value)}" for key, value in settings.items())])


def _formatted(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def description(row: Row) -> str:
    """What was done to get a row of the recovery table, as a phrase."""
    treatment, method = str(row["treatment"]), row["influence_method"]
    recipe = TREATMENTS.get(treatment)
    if method is None:
        return (recipe and recipe.alone) or treatment
    rows = f"{row['removed']} random rows" if method == "random" else f"the {row['removed']} causes found by {method}"
    return ((recipe and recipe.of_rows) or f"{treatment} of {{rows}}").format(rows=rows)


def plain(verdict: str) -> str:
    """A stored verdict without underscores."""
    return verdict.replace("_", " ")


def percent(share: float) -> str:
    """A share between 0 and 1 as a percentage with one decimal."""
    return f"{share:.1%}"


def shortened(name: str, longest: int) -> str:
    """A class name, cut to at most ``longest`` letters."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def signed(value: float) -> str:
    """A number with its sign and two decimals; the minus is as wide as the plus."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")  # no −0.00


def count(share: float, total: int) -> int:
    """The number of rows, of ``total``, that an accuracy stands for."""
    return round(share * total)
