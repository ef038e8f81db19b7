"""What a study is, and how one is run: piece by piece, in processes, resumed where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.reporting.picture import Picture, png, svg
from repair_pipeline.storage.files import write_bytes, write_text
from repair_pipeline.storage.layout import Layout
from repair_pipeline.studies.tables import markdown
from repair_pipeline.types import Progress


@dataclass(frozen=True)
class Piece:
    """A part of a study that needs no other part."""

    name: str
    files: Mapping[Path, float]
    """What it makes, each whole or not at all, and the seconds that each is expected to take on one core. Those that
    are there are not made again."""
    make: Callable[[], list[str]]
    """Makes what is missing, in a process of its own; returns a line for everything that failed in it."""
    stale: frozenset[Path] = frozenset()
    """Files that were there when the study was planned, and are made again."""

    @property
    def left(self) -> list[Path]:
        """Its files that are not there yet, or are made again."""
        return [path for path in self.files if path in self.stale or not path.exists()]

    @property
    def seconds_left(self) -> float:
        """What they are expected to take on one core."""
        return sum(self.files[path] for path in self.left)


@dataclass(frozen=True)
class Stage:
    """Pieces that need no other of the same stage."""

    pieces: Sequence[Piece]
    alone: bool = False
    """One piece at a time: their seconds are a result."""

    def workers(self, available: int) -> int:
        """How many of ``available`` processes it is run by."""
        return 1 if self.alone else max(1, min(available, len(self.pieces)))

    def seconds_left(self, workers: int) -> float:
        """What is left of it, shared among the workers."""
        return sum(piece.seconds_left for piece in self.pieces) / self.workers(workers)


class Study(Protocol):
    """A question that many cases answer together."""

    @property
    def name(self) -> str:
        """What the command calls it."""

    def cases(self) -> Sequence[CaseSpec]:
        """The cases among what it runs."""

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        """All that it has to run: a stage's pieces need those of the stages before it."""

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        """What it found so far, by title."""

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        """The same drawn, by file name."""


def run_study(study: Study, layout: Layout, data_dir: Path, workers: int, progress: Progress) -> list[str]:
    """Make what is missing of a study and write its tables; returns a line for everything that failed.

    Args:
        workers: processes, one core each.
        progress: called about every second with the files that are there, of all.
    """
    stages, failed = study.stages(layout, data_dir), list[str]()
    pieces = [piece for stage in stages for piece in stage.pieces]
    total = sum(len(piece.files) for piece in pieces)
    for stage in stages:
        with ProcessPoolExecutor(stage.workers(workers), mp_context=get_context("spawn")) as pool:
            running = {pool.submit(piece.make): piece for piece in stage.pieces if piece.left}
            while running:
                ended, _ = wait(running, timeout=1, return_when=FIRST_COMPLETED)
                for future in ended:
                    piece = running.pop(future)
                    if error := future.exception():
                        logging.getLogger(__name__).error("%s failed", piece.name, exc_info=error)
                        failed.append(f"{piece.name} failed: {error}")
                    else:
                        failed += [f"{piece.name}: {line}" for line in future.result()]
                progress(total - sum(len(piece.left) for piece in pieces), total)
    write_results(study, layout)
    return failed


def write_results(study: Study, layout: Layout) -> None:
    """The study's tables, each as CSV, its figures, each as SVG and PNG, and a page that has them all."""
    folder, sections = layout.study(study.name), []
    for name, picture in study.figures(layout).items():
        write_bytes(folder / "figures" / f"{name}.svg", svg(name, picture))
        write_bytes(folder / "figures" / f"{name}.png", png(picture))
        sections.append(f"![{picture.alt_text}](figures/{name}.png)\n")
    for title, table in study.tables(layout).items():
        write_text(folder / f"{title}.csv", table.to_csv(index=False))
        sections.append(f"## {title}\n\n{markdown(table)}")
    write_text(folder / "tables.md", "\n".join(sections))
