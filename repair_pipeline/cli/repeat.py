"""``repair run --from-mlflow``: a warning if the data have changed since the tracked run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import Watch
from repair_pipeline.pipeline.step import Step
from repair_pipeline.tracking.runs import Tracked
from repair_pipeline.types import Progress


class Comparing:
    """A ``Watch`` that also warns, as soon as the data are read, if they have changed since the tracked run.

    An MLflow run holds the spec but no data, and the user's files may have changed.
    """

    def __init__(self, case: Case, run: Tracked, watch: Watch) -> None:
        self._case, self._run, self._watch = case, run, watch
        # If settings upstream of the failures were changed, other data are expected.
        self._compared = case.spec.base_id != run.base_id

    @contextmanager
    def __call__(self, step: Step) -> Iterator[Progress]:
        """Watch the step; compare the data before every step but the first, which reads them."""
        if step.needs:
            self.compare()
        with self._watch(step) as progress:
            yield progress

    def compare(self) -> None:
        """Print the warning, at most once, if the fingerprints differ."""
        if self._compared:
            return
        self._compared = True
        fingerprint = (self._case.record or {})["fingerprint"]
        if fingerprint != self._run.fingerprint:
            print(
                f"repair: the data have changed since that run: their fingerprint is {fingerprint}, it was "
                f"{self._run.fingerprint}; the results will differ",
                file=sys.stderr,
            )
