"""A file that a step makes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from repair_pipeline.datasets.ids import digest
from repair_pipeline.storage.locks import locked, scratch_folder
from repair_pipeline.types import Progress


@dataclass(frozen=True)
class File:
    """Something a step makes, whole or not at all."""

    path: Path
    sources: tuple[Path, ...]
    make: Callable[[Path, Progress], None]
    optional: tuple[Path, ...] = ()
    """Sources that it is made from where they are there, and without where they failed; and the owner's files."""
    beside: tuple[Path, ...] = ()
    """What is made with it, and is worth nothing without it."""

    @property
    def finished(self) -> bool:
        """It is there, and nothing that it was made from is newer, or has gone since."""
        if not all(path.exists() for path in (self.path, *self.beside)):
            return False
        made = self.path.stat().st_mtime_ns
        # That a source has gone shows in the time of its folder.
        traces = [source if source.exists() else source.parent for source in (*self.sources, *self.optional)]
        return all(trace.stat().st_mtime_ns <= made for trace in traces if trace.exists())

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held while it is made: another process of this user on this machine waits, and finds it finished then."""
        with locked(scratch_folder() / f"{digest(str(self.path).encode())}.lock", self.path):
            yield
