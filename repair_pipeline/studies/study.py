"""Studies, and running them: piece by piece, by an engine, resuming where the last run stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pandas as pd

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.engines import Processes, attempts, using
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
    """Writes the missing files, in whatever process an engine chooses; returns a line for each failure."""
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
    """Whether to run one piece at a time, on this machine, because their run times are results."""

    def seconds_left(self, workers: int) -> float:
        """The expected seconds for what is left, divided among the workers."""
        used = 1 if self.alone else max(1, min(workers, len(self.pieces)))
        return sum(piece.seconds_left for piece in self.pieces) / used


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


def run_study(study: Study, layout: Layout, data_dir: Path, progress: Progress) -> list[str]:
    """Run what is left of a study by the engine in use, and write its tables and figures.

    Args:
        study: the study.
        layout: where results are stored.
        data_dir: where data sets are read from.
        progress: called about every second with the numbers of finished files and of all files.

    Returns:
        A line for each failure.
    """
    stages, failed = study.stages(layout, data_dir), list[str]()
    pieces = [piece for stage in stages for piece in stage.pieces]
    total = sum(len(piece.files) for piece in pieces)

    def report(done: int, of: int) -> None:
        progress(total - sum(len(piece.left) for piece in pieces), total)

    for stage in stages:
        left = [piece for piece in stage.pieces if piece.left]
        with using(Processes(1)) if stage.alone else nullcontext():
            for piece, made in zip(left, attempts(_made, left, report), strict=True):
                try:
                    failed += [f"{piece.name}: {line}" for line in made()]
                except Exception as error:
                    logging.getLogger(__name__).error("%s failed", piece.name, exc_info=error)
                    failed.append(f"{piece.name} failed: {error}")
                report(0, 0)
    write_results(study, layout)
    return failed


def _made(piece: Piece, progress: Progress) -> list[str]:
    return piece.make()


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
