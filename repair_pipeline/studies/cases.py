"""Running cases as pieces of a study, and reading their tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial

import pandas as pd

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import run_case
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.views import query
from repair_pipeline.studies import costs
from repair_pipeline.studies.study import Piece
from repair_pipeline.types import silent

SHARED = tuple(step for step in STEPS if step.name in ("corrupted_dataset", "base_model", "fisher_diagonal"))
"""The steps upstream of the failures, whose results cases share."""


def upto(last: str, after: str | None = None) -> Sequence[Step]:
    """The steps up to and including ``last``, from the first one or from the one that follows ``after``.

    Studies stop before the report and the tracked run, which they do not need.
    """
    names = [step.name for step in STEPS]
    return STEPS[names.index(after) + 1 if after else 0 : names.index(last) + 1]


def run_cases(name: str, cases: Sequence[Case], steps: Sequence[Step]) -> Piece:
    """A piece that runs cases in turn, because they share results."""
    files = {
        file.path: costs.STEPS.get(step.name, 1.0) for case in cases for step in steps for file in step.files(case)
    }
    stale = frozenset(path for case in cases for step in steps for path in step.stale(case) if path.exists())
    return Piece(name, files, partial(_run, cases, steps), stale)


def _run(cases: Sequence[Case], steps: Sequence[Step]) -> list[str]:
    failed = []
    for case in cases:
        outcome = run_case(case, lambda step: nullcontext(silent), steps=steps)
        failed += [f"{step} failed: {error}" for step, error in outcome.failed.items()]
    return failed


def stored(layout: Layout, table: str, cases: pd.DataFrame) -> pd.DataFrame:
    """The rows of a view for the cases in ``cases``, joined to its columns by ``case_id``."""
    return cases.merge(query(layout, f"SELECT * FROM {table}").to_pandas(), on="case_id")
