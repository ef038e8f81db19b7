"""Plain words for the names in the tables."""

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
"""In the order in which they are shown."""


def kind(row: Row) -> Kind:
    """What a row of the recovery table is there for, as the catalogue says."""
    treatment, method = row["treatment"], row["influence_method"]
    recipe = TREATMENTS.get(treatment)
    if recipe is None:  # a plugin's that is no longer installed
        return "repair"
    if treatment == "base":
        return "before"
    by = METHODS[method].role if method in METHODS else None
    role = recipe.role("causes" if method else _alone(recipe), by)
    return "repair" if role == "baseline" else role


def _alone(recipe: Recipe) -> Removes:
    """What a treatment removes where it takes no method's causes."""
    return next((removes for removes in recipe.removes if removes != "causes"), "nothing")


def by_kind(rows: Iterable[Row]) -> list[Row]:
    """Before, repairs, controls, references; else in the order given."""
    return sorted(rows, key=lambda row: list(KINDS).index(kind(row)))


def short_name(row: Row) -> str:
    """A row of the recovery table by the names that SQL knows."""
    treatment, method = row["treatment"], row["influence_method"]
    removed = {"before": None, "control": "nothing", "reference": "planted", "repair": None}[kind(row)]
    takes_rows = treatment in TREATMENTS and TREATMENTS[treatment].of_rows is not None
    name = f"{method or removed} → {treatment}" if method or (removed and takes_rows) else treatment
    settings = json.loads(row["setting"])
    return ", ".join([name, *(f"{key}={_shown(value)}" for key, value in settings.items())])


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def in_words(row: Row) -> str:
    """A row of the recovery table, said."""
    treatment, method = str(row["treatment"]), row["influence_method"]
    recipe = TREATMENTS.get(treatment)
    if method is None:
        return (recipe and recipe.alone) or treatment
    rows = f"{row['removed']} random rows" if method == "random" else f"the {row['removed']} causes found by {method}"
    return ((recipe and recipe.of_rows) or f"{treatment} of {{rows}}").format(rows=rows)


def plain(verdict: str) -> str:
    """A verdict's name, said."""
    return verdict.replace("_", " ")


def percent(share: float) -> str:
    """A share of one, with one decimal."""
    return f"{share:.1%}"


def shortened(name: str, longest: int) -> str:
    """A class name that fits into a picture."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def signed(value: float) -> str:
    """With two decimals, and a minus as wide as a plus."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")  # no −0.00


def count(share: float, total: int) -> int:
    """How many of ``total`` an accuracy over them stands for."""
    return round(share * total)
