"""Studies, and running them: piece by piece, in several processes, resuming where the last run stopped."""

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
    """A unit of work of a study, independent of the other pieces of its stage."""

    name: str
    files: Mapping[Path, float]
    """The files that it writes, each atomically, with the expected seconds for each on one core. Files that exist are
    not made again."""
    make: Callable[[], list[str]]
    """Writes the missing files, in a process of its own; returns a line for each failure."""
    stale: frozenset[Path] = frozenset()
    """Files that exist when the study is planned, but are out of date and made again."""

    @property
    def left(self) -> list[Path]:
        """The files that are missing or out of date."""
        return [path for path in self.files if path in self.stale or not path.exists()]

    @property
    def seconds_left(self) -> float:
        """The expected seconds for the files that are left, on one core."""
        return sum(self.files[path] for path in self.left)


@dataclass(frozen=True)
class Stage:
    """Pieces that can run at the same time."""

    pieces: Sequence[Piece]
    alone: bool = False
    """Whether to run one piece at a time, because their run times are results."""

    def workers(self, available: int) -> int:
        """The number of processes to use, of ``available``."""
        return 1 if self.alone else max(1, min(available, len(self.pieces)))

    def seconds_left(self, workers: int) -> float:
        """The expected seconds for what is left, divided among the workers."""
        return sum(piece.seconds_left for piece in self.pieces) / self.workers(workers)


class Study(Protocol):
    """A question that is answered by many cases."""

    @property
    def name(self) -> str:
        """Its name on the command line."""

    def cases(self) -> Sequence[CaseSpec]:
        """The cases that it runs; it may run other measurements too."""

    def stages(self, layout: Layout, data_dir: Path) -> list[Stage]:
        """The work, in order: the pieces of a stage need those of earlier stages."""

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        """The results so far, by title."""

    def figures(self, layout: Layout) -> Mapping[str, Picture]:
        """Charts of the results so far, by file name."""


def run_study(study: Study, layout: Layout, data_dir: Path, workers: int, progress: Progress) -> list[str]:
    """Run what is left of a study, and write its tables and figures.

    Args:
        study: the study.
        layout: where results are stored.
        data_dir: where data sets are read from.
        workers: number of processes, one core each.
        progress: called about every second with the numbers of finished files and of all files.

    Returns:
        A line for each failure.
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
    """Write the study's tables as CSV, its figures as SVG and PNG, and a page with all of them."""
    folder, sections = layout.study(study.name), []
    for name, picture in study.figures(layout).items():
        write_bytes(folder / "figures" / f"{name}.svg", svg(name, picture))
        write_bytes(folder / "figures" / f"{name}.png", png(picture))
        sections.append(f"![{picture.alt_text}](figures/{name}.png)\n")
    for title, table in study.tables(layout).items():
        write_text(folder / f"{title}.csv", table.to_csv(index=False))
        sections.append(f"## {title}\n\n{markdown(table)}")
    write_text(folder / "tables.md", "\n".join(sections))
