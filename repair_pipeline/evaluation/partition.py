"""Splitting the test set by the base model's failures (Sec. 4, Common Set-up)."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.types import ALL_FAILURES, Examples, FailureGroup, TestPartition

FEWEST_FAILURES = 6
"""The minimum number of failures for non-empty query, query_tuning and holdout."""


def partition(
    right: Bool[Tensor, " n"],
    test: Examples,
    query_fraction: float,
    rng: np.random.Generator,
    groups: Mapping[str, Bool[Tensor, " n"]] | None = None,
    also_in_training: frozenset[str] = frozenset(),
) -> dict[str, TestPartition]:
    """Half of a group's failures become its holdout; of ``query_fraction`` of the others, a tenth is query_tuning.

    A stratified half of the correctly classified rows is the guard, in every case and for every group, so that
    ``remaining`` does not depend on whether the guard is used.

    Args:
        right: whether the base model gets each row right.
        test: the test set.
        query_fraction: the share of the query-side failures to use.
        rng: draws the split.
        groups: masks of the groups whose failures are to be repaired; a row belongs to the first group that contains
            it. Other failures are set aside. None: one group of all rows.
        also_in_training: ids of test rows whose input was trained on. They are kept out of holdout and remaining.

    Returns:
        The partition of each group.

    Raises:
        InputError: a group has too few failures.
    """
    wrong, seen = ~right, test.having(also_in_training)
    fresh = torch.nonzero(right & ~seen).flatten()
    failing, assigned = {}, torch.zeros_like(wrong)
    for name, mask in (groups or {ALL_FAILURES: torch.ones_like(wrong)}).items():
        failing[name], assigned = wrong & mask & ~assigned, assigned | mask
    for name, failures in failing.items():
        selection = " among the rows that the case is about" if groups else ""
        where = FailureGroup(name).phrase(" in the group {!r}") or selection
        _require_enough(int((failures & ~seen).sum()), len(test), where)
    sides = {name: _split_failures(failures, seen, query_fraction, rng) for name, failures in failing.items()}
    remaining, guard = stratified_split(test.labels[fresh], 0.5, rng)

    def rows(at: np.ndarray) -> Examples:
        return test[torch.from_numpy(np.sort(at))]

    in_guard = ~wrong & seen
    in_guard[fresh[guard]] = True
    return {
        name: TestPartition(
            query=rows(query),
            query_tuning=rows(tuning),
            holdout=rows(holdout),
            guard=test[in_guard],
            remaining=test[fresh[remaining]],
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
    """Split a shuffled query side: the first tenth, at least one row, is query_tuning; the rest is the query.

    Returns:
        query_tuning and query.
    """
    tuning, query = np.split(side, [max(1, round(0.1 * len(side)))])
    return tuning, query


def _require_enough(failures: int, tests: int, where: str) -> None:
    if failures < FEWEST_FAILURES:
        raise InputError(
            f"the base model fails on {failures} of {tests} test rows{where} that it was not trained on, but "
            f"{FEWEST_FAILURES} are needed to split them into query, tuning and holdout: give more test rows, "
            "or leave this model as it is"
        )
