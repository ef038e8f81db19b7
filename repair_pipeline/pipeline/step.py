"""A step of the pipeline: the files that it makes for a case, and making those that are missing or stale."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from repair_pipeline.cases.spec import CODE
from repair_pipeline.compute.device import threads
from repair_pipeline.compute.engines import attempts
from repair_pipeline.errors import InputError
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.inputs import require_unchanged
from repair_pipeline.storage.locks import in_use
from repair_pipeline.types import Progress, silent


@dataclass(frozen=True)
class Step:
    """One step of the pipeline."""

    name: str
    needs: tuple[str, ...]
    """Names of the steps that must come before."""
    files: Callable[[Case], list[File]]
    """The files that it makes for a case; none where the case does not use it."""
    kind: Literal["influence", "treatment"] | None = None
    """The catalogue of the entry that it runs; None for a step of every case."""
    entry: str = ""
    """The name of the influence method or treatment."""
    version: int = 1
    """The version of its code. Raise it when the same inputs give other results: stored ones become stale."""
    optional: bool = False
    """Whether some cases skip it and still run steps that need it."""
    in_order: bool = False
    """Whether its files are made one after the other, though none is made from another."""

    @property
    def isolated(self) -> bool:
        """Whether other steps continue when it fails."""
        return self.kind is not None

    def run(
        self, case: Case, force: bool = False, progress: Progress = silent, made: list[Path] | None = None
    ) -> list[Path]:
        """Make the files that are missing or stale, or all with ``force``; returns those that were made.

        A failing file does not stop the others: the first error is raised at the end.

        Args:
            made: a list that the paths are added to, also when a file fails.

        Raises:
            InputError: the case cannot be used as it is.
            FileNotFoundError: a source is missing, because the step that makes it failed or was not run.
        """
        made = [] if made is None else made
        failures = []
        folders = (case.layout.table("cases", case.id).parent, case.dataset_path.parent)
        with in_use(*folders), threads(case.spec.compute.threads):
            for files in self._independent(case):
                stale = [file for file in files if force or file.stale(case, self.version)]
                with closing(attempts(partial(self._made, case, force), stale, progress)) as outcomes:
                    for file, outcome in zip(stale, outcomes, strict=True):
                        try:
                            if outcome():
                                made += file.paths
                        except Exception as error:
                            if isinstance(error, InputError):
                                raise
                            if self.isolated:
                                file.set_aside()  # or the evaluation would take it for this run's result
                            failures.append(error)
        if failures:
            raise failures[0]
        return made

    def stale(self, case: Case) -> dict[Path, str]:
        """The files that are missing or stale, each with the reason."""
        reasons = {file.path: file.stale(case, self.version) for file in self.files(case)}
        return {path: why for path, why in reasons.items() if why}

    def _independent(self, case: Case) -> Iterator[list[File]]:
        """Its files in order, in groups: those of a group are made from earlier groups, and not from each other."""
        group = list[File]()
        for file in self.files(case):
            before = {path for other in group for path in other.paths}
            if group and (self.in_order or before & {*file.sources, *file.optional}):
                yield group
                group = []
            group.append(file)
        if group:
            yield group

    def _made(self, case: Case, force: bool, file: File, progress: Progress) -> bool:
        if missing := [source for source in file.sources if not source.exists()]:
            raise FileNotFoundError(f"{self.name} needs {missing[0]}, which is not there: run that step")
        with file.locked():
            if not (force or file.stale(case, self.version)):  # another process has made it meanwhile
                return False
            with file.recorded(case, self.name, self.version):
                file.make(file.path, progress)
                # The files may have changed while they were read, and the code may have been imported anew.
                require_unchanged(case.spec, case.layout, (*file.inputs, *CODE))
        return True
