"""A file that a step makes, and whether it is still current."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from repair_pipeline.datasets.ids import digest
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.inputs import digests, shown
from repair_pipeline.storage.files import clear_partial
from repair_pipeline.storage.identity import Origin, kept_digests, read_origin, record_path, write_origin
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.locks import locked, scratch_folder
from repair_pipeline.types import Progress

NOT_MADE = "not made yet"
UNRECORDED = "made by an earlier version, which did not record what from"


@dataclass(frozen=True)
class File:
    """A file that a step makes: it appears whole or not at all."""

    path: Path
    sources: tuple[Path, ...]
    make: Callable[[Path, Progress], None]
    optional: tuple[Path, ...] = ()
    """Sources that are used if they exist; the steps that make them may fail."""
    beside: tuple[Path, ...] = ()
    """Files that are made together with it and belong to it."""
    inputs: tuple[str, ...] = ()
    """Keys of the case that name the user's files and code that it is made from."""

    @property
    def paths(self) -> list[Path]:
        """The file and the files that belong to it."""
        return [self.path, *self.beside]

    def stale(self, case: Case, version: int) -> str | None:
        """Why the file must be made or made again; None: its inputs, sources and code version are unchanged.

        Args:
            version: the version of the code that makes it.
        """
        before = read_origin(self.path)
        reason = self._damage(before, version)
        if reason is not None or before is None:
            return reason
        now = self.origin(case, before.step, version)
        # A finished result does not need the files of a data set of the studies, which may lie elsewhere today.
        gone = {"dataset.name"} - now.inputs.keys()
        for key in sorted((before.inputs.keys() | now.inputs.keys()) - gone):
            if before.inputs.get(key) != now.inputs.get(key):
                return f"{shown(case.spec, key)} {_became(before.inputs, now.inputs, key)}"
        for name in sorted(before.sources.keys() | now.sources.keys()):
            if before.sources.get(name) != now.sources.get(name):
                return f"{Path(name).name} {_became(before.sources, now.sources, name)}"
        return None

    def damaged(self, version: int) -> str | None:
        """Why the file is not what this version of the step made; None where it is, whatever its inputs are by now."""
        return self._damage(read_origin(self.path), version)

    def _damage(self, before: Origin | None, version: int) -> str | None:
        if not all(path.exists() for path in self.paths):
            return NOT_MADE
        if before is None:
            return UNRECORDED
        if before.digest is None:
            return "it was not finished"
        if before.digest != self.digest():
            return f"{self.path.name} is not what the step made"
        if before.version != version:
            return f"step version {before.version} → {version}"
        return None

    def origin(self, case: Case, step: str, version: int) -> Origin:
        """The record of what it would be made from now."""
        there = [source for source in (*self.sources, *self.optional) if source.exists()]
        digest_by_path = kept_digests().of_each(there)
        sources = {os.path.relpath(path, case.layout.home): digest for path, digest in digest_by_path.items()}
        return Origin(step, version, digests(case.spec, case.layout, self.inputs), sources)

    def digest(self) -> str:
        """The digest of the file and the files that belong to it."""
        return kept_digests().of({path.name: path for path in self.paths})

    @contextmanager
    def recorded(self, case: Case, step: str, version: int) -> Iterator[None]:
        """Wrap the making of the file: its record is written afterwards.

        If the making fails, a file that was there before stays with its record, and no other is left. A file of an
        earlier version, which has no record, is kept as ``.NAME.earlier``.
        """
        for path in (*self.paths, record_path(self.path)):
            clear_partial(path)
        origin, existed, before = self.origin(case, step, version), self.path.exists(), read_origin(self.path)
        if existed and before is None:
            for path in self.paths:
                _keep_earlier(path)
        write_origin(self.path, origin)
        try:
            yield
        except BaseException:
            if not existed:
                take_back(self.paths, case.layout)
            elif before is None:
                record_path(self.path).unlink()
            else:
                write_origin(self.path, before)
            raise
        write_origin(self.path, replace(origin, digest=self.digest()))

    def set_aside(self) -> None:
        """Keep the file as ``.NAME.earlier`` and remove its record: nothing takes it for a result of this run."""
        if self.path.exists():
            os.replace(self.path, _earlier(self.path))
        record_path(self.path).unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the file while it is made: another process of this user on this machine waits until it is finished."""
        with locked(scratch_folder() / f"{digest(str(self.path).encode())}.lock", self.path):
            yield


def _became(before: dict[str, str], now: dict[str, str], name: str) -> str:
    if name not in now:
        return "is gone"
    return "changed" if name in before else "is there now"


def _earlier(path: Path) -> Path:
    return path.with_name(f".{path.name}.earlier")


def _keep_earlier(path: Path) -> None:
    """Keep a file under a second name, or as a copy where the file system has no second names."""
    if path.exists() and not _earlier(path).exists():
        try:
            os.link(path, _earlier(path))
        except OSError:
            shutil.copy2(path, _earlier(path))


def take_back(paths: Iterable[Path], layout: Layout) -> None:
    """Remove results with their records, and folders below ``layout.results`` that become empty."""
    for path in paths:
        path.unlink(missing_ok=True)
        record_path(path).unlink(missing_ok=True)
        for folder in path.parents:
            if layout.results not in folder.parents or not folder.is_dir() or any(folder.iterdir()):
                break
            folder.rmdir()
