"""Engines: where independent pieces of work run, in this process or as tasks on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Protocol, TypeVar, runtime_checkable

from repair_pipeline.types import Examples, Progress, silent

P = TypeVar("P")
R = TypeVar("R")

Work = Callable[[P, Progress], R]
"""Makes the result of one piece. It reads nothing that another piece changes, and may be called again if it is lost."""

Results = Generator[Callable[[], R], None, None]
"""For each piece, in order, a call that returns its result or raises its error. Closing it gives up what is left."""


@runtime_checkable
class Engine(Protocol):
    """Runs the same work on independent pieces. What comes out does not depend on the engine."""

    def results(self, work: Work[P, R], pieces: Sequence[P], progress: Progress) -> Results[R]:
        """The results of ``work`` on each piece, in order.

        Args:
            work: what is done with a piece; it is given a progress callback.
            pieces: independent of each other.
            progress: called as the work advances: by a piece's own steps, or by the number of finished pieces.
        """


class Local:
    """One piece after the other, in this process."""

    def results(self, work: Work[P, R], pieces: Sequence[P], progress: Progress) -> Results[R]:
        yield from (partial(work, piece, progress) for piece in pieces)


@dataclass(frozen=True)
class Processes:
    """New processes on this machine, each for several pieces in turn."""

    workers: int
    """The number of processes."""

    def results(self, work: Work[P, R], pieces: Sequence[P], progress: Progress) -> Results[R]:
        workers = max(1, min(self.workers, len(pieces)))
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            made = [pool.submit(work, piece, silent) for piece in pieces]
            for future in made:
                while not wait([future], timeout=1).done:
                    progress(sum(each.done() for each in made), len(made))
                progress(sum(each.done() for each in made), len(made))
                yield future.result


LOCAL = Local()
_in_force: ContextVar[Engine] = ContextVar("engine", default=LOCAL)


@contextmanager
def using(engine: Engine) -> Iterator[None]:
    """Run what is spread inside on ``engine``. The default is ``LOCAL``, also inside an engine's tasks."""
    token = _in_force.set(engine)
    try:
        yield
    finally:
        _in_force.reset(token)


def attempts(work: Work[P, R], pieces: Sequence[P], progress: Progress = silent) -> Results[R]:
    """The results of independent pieces, in order, from the engine in use; each is called, and may raise."""
    return _in_force.get().results(work, pieces, progress)


def spread(work: Work[P, R], pieces: Sequence[P], progress: Progress = silent) -> Iterator[R]:
    """The results of independent pieces, in order, from the engine in use; the first error is raised."""
    return (result() for result in attempts(work, pieces, progress))


_ROWS, _BYTES = 10_000, 2**28


def shards(examples: Examples) -> list[Examples]:
    """Consecutive rows, 10,000 each, or as many as fit into 256 MiB at 4 bytes a value.

    They depend on the rows alone, so that sums over them, in order, are the same bits on every engine.
    """
    return list(examples.batches(max(1, min(_ROWS, _BYTES // (4 * examples.shape.numel())))))
