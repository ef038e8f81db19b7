"""``repair run --from-mlflow``: whether a case that is repeated has the data that it had."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import Watch
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.tracking.runs import Tracked
from repair_pipeline.types import Progress


class Comparing:
    """A ``Watch`` that also says, as soon as the data are there, whether they have changed since the tracked run.

    An MLflow run holds the spec and no data: where they are the owner's, they may be others by now.
    """

    def __init__(self, case: Case, run: Tracked, watch: Watch) -> None:
        self._case, self._run, self._watch = case, run, watch
        # With other settings upstream of the failures, other data are what was asked for.
        self._compared = case.spec.base_id != run.base_id

    @contextmanager
    def __call__(self, step: Step) -> Iterator[Progress]:
        """Watch the step; the data are there before any but the first."""
        if step.needs:
            self.compare()
        with self._watch(step) as progress:
            yield progress

    def compare(self) -> None:
        """Say it once, and only where they differ."""
        if self._compared:
            return
        self._compared = True
        now = (self._case.record or {})["fingerprint"]
        if now != self._run.fingerprint:
            print(
                f"repair: the data have changed since that run: their fingerprint is {now}, it was "
                f"{self._run.fingerprint}; the numbers will not be the same",
                file=sys.stderr,
            )
