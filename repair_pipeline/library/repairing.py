"""A repaired model, and what was removed from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.library.problem import RepairProblem
from repair_pipeline.library.scoring import require_guard
from repair_pipeline.library.settings import configured, name_of, require_no_settings
from repair_pipeline.library.tables import Shown
from repair_pipeline.likelihoods.protocol import off
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes


@dataclass(frozen=True, eq=False, repr=False)
class Repair(Shown):
    """A treated model. What it gets right of rows that the repair has read proves nothing: ``judge`` does."""

    model: nn.Module
    """In eval mode, on the device of the problem's model, which is left as it is; it returns what that one does."""
    name: str
    """The treatment's."""
    treatment: Treatment
    causes: Causes
    """The training rows that were removed."""
    right: tuple[tuple[str, int, float], ...]
    """Each part of the problem that has rows: its name, its rows, and the share that is right now."""

    def shown(self) -> tuple[str, pd.DataFrame]:
        """What was done, and the share of rows that is right, by part."""
        line = f"Repair by {self.name} without {len(self.causes)} training rows; rows that it may have read:"
        return line, pd.DataFrame(self.right, columns=["part", "rows", "right"])


def repair(
    problem: RepairProblem, causes: Causes | Iterable[str], treatment: str | Treatment = "finetune", **settings: Any
) -> Repair:
    """Erase training rows from the model (Eq. 15, or what ``treatment`` does in its place).

    A treatment that removes nothing (``learn_query``, ``reseed``) leaves ``causes`` aside, ``semi_oracle`` takes the
    rows that are known to be wrong.

    Args:
        causes: ``scores.top(count)``, or ids.
        treatment: its name as in cases, or an instance of one.
        settings: of a treatment that is named.

    Raises:
        InputError: there is no such treatment, setting or row, or it needs what the problem has not.
    """
    removed = causes if isinstance(causes, Causes) else Causes(tuple(map(str, _ids(causes))))
    known = {*problem.fit.ids.tolist(), *problem.validation.ids.tolist()}
    if unknown := [name for name in removed.ids if name not in known]:
        raise InputError(
            f"{len(unknown)} causes are no training row's ids, {unknown[0]!r} the first: give scores.top()"
        )
    if isinstance(treatment, str):
        name, recipe = treatment, TREATMENTS.named(treatment)
        chosen = configured(name, recipe.treatment, settings)
    else:
        require_no_settings(treatment, settings)
        makers = {name: recipe.treatment for name, recipe in TREATMENTS.items()}
        name, chosen = name_of(treatment, makers), treatment
    removes = TREATMENTS[name].removes if name in TREATMENTS else ("causes",)
    if "planted" in removes and "causes" not in removes:
        if not problem.corrupted:
            raise InputError(f"{name} removes rows that are known to be wrong: give the problem corrupted= ids")
        removed = Causes(tuple(sorted(problem.corrupted)))
    elif "causes" not in removes:
        removed = Causes(())
    if isinstance(chosen, Auto):
        raise InputError("auto searches many scores and treatments: choose one here, or let repair run do it")
    require_guard(problem, name, chosen)
    _require_rest(problem, removed)
    with problem.watched(name) as progress:
        model = chosen.repaired(problem.task(f"treatment/{name}", progress), removed).eval()
    tests = {"failures": problem.tests.query, "tuning": problem.tests.query_tuning, "guard": problem.tests.guard}
    right = tuple((part, len(rows), accuracy(model, rows)) for part, rows in tests.items() if len(rows))
    return Repair(off(model), name, chosen, removed, right)


def _require_rest(problem: RepairProblem, removed: Causes) -> None:
    """Refuse causes beside which there is nothing to train on or to stop by, and causes that nothing was learnt from.

    Raises:
        InputError: says which.
    """
    for where, rows in (("scored", problem.fit), ("validation", problem.validation)):
        if removed.as_set.issuperset(rows.ids.tolist()):
            raise InputError(f"causes hold all {len(rows)} {where} rows of the problem: leave some")
    if len(removed) and removed.as_set.isdisjoint(problem.fit.ids.tolist()):
        raise InputError(
            f"all {len(removed)} causes are validation rows, which nothing was learnt from: give scored rows"
        )


def _ids(causes: Iterable[str]) -> Iterable[str]:
    if isinstance(causes, str):
        raise InputError(f"causes is {causes!r}: give scores.top(count), or a list of ids")
    return causes
