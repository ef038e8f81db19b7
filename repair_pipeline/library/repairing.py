"""``repair``: a treated model, and the training rows that were removed from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.library.problem import RepairProblem
from repair_pipeline.library.scoring import require_guard
from repair_pipeline.library.settings import configured, name_of, require_no_settings, require_task
from repair_pipeline.library.tables import Shown
from repair_pipeline.likelihoods.reading import off
from repair_pipeline.training.fit import accuracy
from repair_pipeline.treatment.protocol import Search, Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import Causes


@dataclass(frozen=True, eq=False, repr=False)
class Repair(Shown):
    """A treated model. Its accuracy on rows that the repair has read is no evidence; use ``judge`` for a verdict."""

    model: nn.Module
    """In eval mode, on the device of the problem's model, with the same outputs. The problem's model is not changed."""
    name: str
    """Name of the treatment."""
    treatment: Treatment
    causes: Causes
    """The training rows that were removed."""
    right: tuple[tuple[str, int, float], ...]
    """For each part of the problem with rows: its name, its number of rows, and the share that is right now."""

    @property
    def relabels(self) -> bool:
        """Whether the treatment gave the causes other labels."""
        return self.name in TREATMENTS and TREATMENTS[self.name].relabels

    def shown(self) -> tuple[str, pd.DataFrame]:
        """What was done, and a table of the share of rows that is right in each part."""
        line = f"Repair by {self.name} without {len(self.causes)} training rows; rows that it may have read:"
        return line, pd.DataFrame(self.right, columns=["part", "rows", "right"])


def repair(
    problem: RepairProblem, causes: Causes | Iterable[str], treatment: str | Treatment = "finetune", **settings: Any
) -> Repair:
    """Remove the influence of training rows from the model (Eq. 15, or another ``treatment``).

    A treatment that removes nothing (``learn_query``, ``reseed``) ignores ``causes``; ``semi_oracle`` removes the rows
    that are known to be wrong instead.

    Args:
        problem: the problem to repair. It is not changed.
        causes: the rows to remove: ``scores.top(count)``, or ids.
        treatment: a treatment's name as in case files, or an instance.
        **settings: of the treatment, if it is given by name.

    Returns:
        The treated model in eval mode, with the rows that were removed.

    Raises:
        InputError: the treatment, a setting or a row is unknown, or the treatment needs what the problem lacks.
    """
    removed = causes if isinstance(causes, Causes) else Causes(tuple(map(str, _ids(causes))))
    known = {*problem.fit.ids.tolist(), *problem.validation.ids.tolist()}
    if unknown := [name for name in removed.ids if name not in known]:
        raise InputError(
            f"{len(unknown)} causes are not ids of training rows, the first is {unknown[0]!r}: give scores.top(count)"
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
    if isinstance(chosen, Search):
        raise InputError(
            "auto searches over methods and treatments, which only repair run does: choose a treatment here"
        )
    if name in TREATMENTS:
        recipe = TREATMENTS[name]
        require_task(problem.likelihood.form, name, recipe.needs_classes, recipe.relabels)
    require_guard(problem, name, chosen)
    _require_rows_left(problem, removed)
    with problem.watched(name) as progress:
        model = chosen.repaired(problem.task(f"treatment/{name}", progress), removed).eval()
    tests = {"failures": problem.tests.query, "tuning": problem.tests.query_tuning, "guard": problem.tests.guard}
    right = tuple((part, len(rows), accuracy(model, rows)) for part, rows in tests.items() if len(rows))
    return Repair(off(model), name, chosen, removed, right)


def _require_rows_left(problem: RepairProblem, removed: Causes) -> None:
    """Check that training and validation rows are left, and that some cause is a row that the model learnt from.

    Raises:
        InputError: one of these does not hold.
    """
    for where, rows in (("scored", problem.fit), ("validation", problem.validation)):
        if removed.as_set.issuperset(rows.ids.tolist()):
            raise InputError(f"causes contain all {len(rows)} {where} rows of the problem: leave some")
    if len(removed) and removed.as_set.isdisjoint(problem.fit.ids.tolist()):
        raise InputError(
            f"all {len(removed)} causes are validation rows, which the model does not learn from: give scored rows"
        )


def _ids(causes: Iterable[str]) -> Iterable[str]:
    if isinstance(causes, str):
        raise InputError(f"causes is {causes!r}: give scores.top(count), or a list of ids")
    return causes
