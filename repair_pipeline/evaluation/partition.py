"""Splitting the test set by what the base model gets wrong (Sec. 4, Common Set-up)."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.types import ALL_FAILURES, Examples, FailureGroup, TestPartition

FEWEST_FAILURES = 6
"""Below this a tenth of the query side, the query side and the holdout cannot each hold a row worth reading."""


def partition(
    predicted: Int64[Tensor, " n"],
    test: Examples,
    query_fraction: float,
    rng: np.random.Generator,
    groups: Mapping[str, Bool[Tensor, " n"]] | None = None,
    also_in_training: frozenset[str] = frozenset(),
) -> dict[str, TestPartition]:
    """Half of a group's failures are its holdout; of the others' ``query_fraction``, a tenth is query_tuning.

    A class-stratified half of the correctly classified rows is the guard, in every case and for every group, so that
    ``remaining`` is the same rows whatever use is made of the guard.

    Args:
        predicted: the base model's classes.
        groups: the rows whose failures are to be repaired, by group; a row is of the first that has it. The other
            failures are set aside. None: all of them.
        also_in_training: test rows that prove nothing. They are kept out of holdout and remaining.

    Raises:
        InputError: a group has too few failures to find causes with and to prove a repair on.
    """
    wrong, seen = predicted != test.labels, test.having(also_in_training)
    right = torch.nonzero(~wrong & ~seen).flatten()
    failing, taken = {}, torch.zeros_like(wrong)
    for name, mask in (groups or {ALL_FAILURES: torch.ones_like(wrong)}).items():
        failing[name], taken = wrong & mask & ~taken, taken | mask
    for name, failures in failing.items():
        about = " among those that it is about" if groups else ""
        named = FailureGroup(name).phrase(" in the group {!r}") or about
        _require_enough(int((failures & ~seen).sum()), len(test), named)
    sides = {name: _split_failures(failures, seen, query_fraction, rng) for name, failures in failing.items()}
    remaining, guard = stratified_split(test.labels[right], 0.5, rng)

    def rows(at: np.ndarray) -> Examples:
        return test[torch.from_numpy(np.sort(at))]

    in_guard = ~wrong & seen
    in_guard[right[guard]] = True
    return {
        name: TestPartition(
            query=rows(query),
            query_tuning=rows(tuning),
            holdout=rows(holdout),
            guard=test[in_guard],
            remaining=test[right[remaining]],
            unused_query=rows(unused),
            other_failures=test[wrong & ~failing[name]],
        )
        for name, (query, tuning, holdout, unused) in sides.items()
    }


def _split_failures(
    failures: Tensor, seen: Tensor, query_fraction: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Positions of query, query_tuning, holdout and unused_query."""
    fresh = rng.permutation(torch.nonzero(failures & ~seen).flatten().numpy())
    known = torch.nonzero(failures & seen).flatten().numpy()
    holdout, side = np.split(fresh, [(len(fresh) + len(known)) // 2])
    side, unused = np.split(np.concatenate([side, known]), [max(2, round(query_fraction * (len(side) + len(known))))])
    tuning, query = with_tuning(side)
    return query, tuning, holdout, unused


def with_tuning(side: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first tenth of a query side in random order, one row at least, is query_tuning; the others are the query."""
    tuning, query = np.split(side, [max(1, round(0.1 * len(side)))])
    return tuning, query


def _require_enough(failures: int, tests: int, of: str) -> None:
    if failures < FEWEST_FAILURES:
        raise InputError(
            f"the base model fails on {failures} of {tests} test rows{of} that it was not trained on, "
            f"{FEWEST_FAILURES} are needed to split them into query, tuning and holdout: give more test rows, "
            "or leave this model as it is"
        )
