"""Rows that a verdict may rest on: unseen by model and repair, and how often they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.library.rows import Part
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples


def require_outcome(model: nn.Module, where: str, rows: Examples, right: bool) -> None:
    """Refuse rows that the model gets wrong where right ones are due, or the other way about.

    Raises:
        InputError: says how many, and the first; or there are no rows.
    """
    if not len(rows):
        raise InputError(f"{where} holds no row: give one that does")
    other = (predictions(model, rows) == rows.labels).numpy() != right
    if other.any():
        word, due = ("wrong", "right") if right else ("right", "wrong")
        raise InputError(
            f"{where}: the model gets {int(other.sum())} of {len(rows)} rows {word}, {rows.ids[other][0]} the first, "
            f"and {where} are rows that it gets {due}: leave them out, or check that this is the model that failed"
        )


@dataclass
class Holdouts:
    """What the problem has read, and whom each held-out failure has served."""

    seen: Mapping[str, frozenset[str]]
    """Hashes of the inputs of each part of the problem."""
    reads: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    """Each model that was judged, by a hash of its weights, with the failures that it was judged on; in their order."""

    def require_unseen(self, where: str, part: Part) -> None:
        """Refuse rows whose input is that of a row of the problem.

        Raises:
            InputError: says how many, the part that has them, and the first's place.
        """
        for other, digests in self.seen.items():
            if places := [at for at, digest in enumerate(part.digests) if digest in digests]:
                raise InputError(
                    f"{len(places)} of {len(part)} {where} rows are among {other} too, row {places[0]} the first: "
                    "leave them out, as what was read proves nothing"
                )

    def read(self, model: str, part: Part) -> tuple[Bool[np.ndarray, " h"], int]:
        """Note that ``model`` is judged on these rows; which of them earlier ones have read, and how many of those.

        Judging a model again is no new read.
        """
        this = model, frozenset(part.digests)
        if this not in self.reads:
            self.reads.append(this)
        before = self.reads[: self.reads.index(this)]
        earlier = [digests for name, digests in before if name != model and not digests.isdisjoint(part.digests)]
        return np.array([any(digest in read for read in earlier) for digest in part.digests], dtype=bool), len(earlier)
