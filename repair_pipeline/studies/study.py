"""What a study is, and how one is run: piece by piece, in processes, resumed where it stopped."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Protocol

import pandas as pd

from repair_pipeline.storage.files import write_text
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

    @property
    def left(self) -> list[Path]:
        """Its files that are not there yet."""
        return [path for path in self.files if not path.exists()]

    @property
    def seconds_left(self) -> float:
        """What they are expected to take on one core."""
        return sum(self.files[path] for path in self.left)


class Study(Protocol):
    """A question that many cases answer together."""

    @property
    def name(self) -> str:
        """What the command calls it."""

    def stages(self, layout: Layout, data_dir: Path) -> list[list[Piece]]:
        """All that it has to run: a stage's pieces need those of the stages before it."""

    def tables(self, layout: Layout) -> dict[str, pd.DataFrame]:
        """What it found so far, by title."""


def run_study(study: Study, layout: Layout, data_dir: Path, workers: int, progress: Progress) -> list[str]:
    """Make what is missing of a study and write its tables; returns a line for everything that failed.

    Args:
        workers: processes, one core each.
        progress: called about every second with the files that are there, of all.
    """
    stages, failed = study.stages(layout, data_dir), list[str]()
    pieces = [piece for stage in stages for piece in stage]
    total = sum(len(piece.files) for piece in pieces)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for stage in stages:
            running = {pool.submit(piece.make): piece for piece in stage if piece.left}
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
    write_tables(study, layout)
    return failed


def write_tables(study: Study, layout: Layout) -> None:
    """The study's tables, each as CSV and all together as Markdown."""
    tables = study.tables(layout)
    for title, table in tables.items():
        write_text(layout.study(study.name) / f"{title}.csv", table.to_csv(index=False))
    page = "\n".join(f"## {title}\n\n{markdown(table)}" for title, table in tables.items())
    write_text(layout.study(study.name) / "tables.md", page)
