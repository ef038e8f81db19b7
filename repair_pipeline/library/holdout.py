"""Checks that a verdict rests on unseen rows, and keeps a record of which models were judged on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool
from torch import nn

from repair_pipeline.errors import InputError
from repair_pipeline.library.rows import Part
from repair_pipeline.training.fit import right as gets_right
from repair_pipeline.types import Examples


def require_outcome(model: nn.Module, where: str, rows: Examples, right: bool) -> None:
    """Check that the model gets all rows right, or all of them wrong.

    Args:
        model: the problem's model, before any repair.
        where: name of the part, for messages.
        rows: rows of the part.
        right: True if the model must get every row right, False if it must get every row wrong.

    Raises:
        InputError: there are no rows, or the model gets some of them the other way. Names how many and the first.
    """
    if not len(rows):
        raise InputError(f"{where} has no rows: give at least one")
    unexpected = gets_right(model, rows).numpy() != right
    if unexpected.any():
        actual, required = ("wrong", "right") if right else ("right", "wrong")
        raise InputError(
            f"{where} must hold rows that the model gets {required}, but it gets {int(unexpected.sum())} of "
            f"{len(rows)} rows {actual}, the first is {rows.ids[unexpected][0]}: leave them out, or check that this is "
            "the model that failed"
        )


@dataclass
class Holdouts:
    """Which inputs the problem has read, and which models were judged on which held-out failures."""

    seen: Mapping[str, frozenset[str]]
    """Hashes of the inputs of each part of the problem, by part."""
    reads: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    """Models judged so far, in order: a hash of the weights, and hashes of the failures used to judge it."""

    def require_unseen(self, where: str, part: Part) -> None:
        """Check that no row has the same input as a row of the problem.

        Args:
            where: name of the part, for messages.
            part: the rows to check.

        Raises:
            InputError: some do. Names how many, the part of the problem that has them, and the first one's position.
        """
        for other, digests in self.seen.items():
            if positions := [position for position, digest in enumerate(part.digests) if digest in digests]:
                raise InputError(
                    f"{len(positions)} of {len(part)} {where} rows are also in {other}, the first is row "
                    f"{positions[0]}: leave them out, because rows that the repair has read prove nothing"
                )

    def read(self, model: str, part: Part) -> tuple[Bool[np.ndarray, " h"], int]:
        """Record that a model is judged on these rows. Judging the same model on the same rows again adds no record.

        Args:
            model: hash of its weights.
            part: held-out failures.

        Returns:
            Which of the rows earlier judgements of other models have read, and the number of these judgements.
        """
        judgement = model, frozenset(part.digests)
        if judgement not in self.reads:
            self.reads.append(judgement)
        before = self.reads[: self.reads.index(judgement)]
        earlier = [digests for name, digests in before if name != model and not digests.isdisjoint(part.digests)]
        read = [any(digest in digests for digests in earlier) for digest in part.digests]
        return np.array(read, dtype=bool), len(earlier)
