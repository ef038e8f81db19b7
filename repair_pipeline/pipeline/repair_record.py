"""What the file of a repaired model says of it, in its header."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from repair_pipeline.cases.grid import Variant
from repair_pipeline.storage.files import read_tensor_notes
from repair_pipeline.treatment.candidates import Candidate, Choice
from repair_pipeline.treatment.fitness import Fitness


@dataclass(frozen=True)
class TriedRepair:
    """A repair that a search tried."""

    influence_method: str | None
    treatment: str
    removed: int
    fitness: Fitness
    chosen: bool
    epochs: int | None = None
    """The length of a fine-tuning that only screened it."""

    @property
    def row(self) -> dict[str, Any]:
        """Its row of ``candidates``."""
        return {
            "influence_method": self.influence_method,
            "treatment": self.treatment,
            "removed": self.removed,
            **asdict(self.fitness),
            "chosen": self.chosen,
            "epochs": self.epochs,
        }


@dataclass(frozen=True)
class SearchRecord:
    """What ``auto`` tried and chose."""

    pool: str
    p_value: float
    """Of the best repair against the control."""
    tried: tuple[TriedRepair, ...]
    causes: tuple[str, ...]
    """Ids of the rows that the chosen repair removed, the most harmful first; empty where none was chosen."""

    @property
    def chosen(self) -> TriedRepair | None:
        """The repair that was chosen; None: no repair is better than the control."""
        return next((repair for repair in self.tried if repair.chosen), None)


@dataclass(frozen=True)
class RepairRecord:
    """How a repaired model was made, what it cost, and how it does on query_tuning and guard."""

    variant: Variant
    gamma: float | None
    """None where the treatment has none."""
    removed: int
    """Fit rows that it was made without."""
    fitness: Fitness
    search: SearchRecord | None
    """None where the treatment searches for nothing."""
    seconds: float
    device: str
    threads: int


_RECORD = TypeAdapter(RepairRecord)


def read_repair_record(path: Path) -> RepairRecord:
    """The record in the header of a repaired model's file; its tensors are not read."""
    return _RECORD.validate_python(dict(read_tensor_notes(path)))


def search_record(pool: str, choice: Choice) -> SearchRecord:
    """A search as it is stored."""
    tried = tuple(_tried(repair, repair is choice.kept) for repair in choice.tried)
    return SearchRecord(pool, choice.p_value, tried, choice.kept.causes.ids if choice.kept else ())


def _tried(repair: Candidate, chosen: bool) -> TriedRepair:
    return TriedRepair(
        repair.influence_method, repair.treatment, len(repair.causes), repair.fitness, chosen, repair.epochs
    )
