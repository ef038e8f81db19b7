"""Splitting the test set by what the base model gets wrong (Sec. 4, Common Set-up)."""

from collections.abc import Collection

import numpy as np
import torch
from torch import nn

from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.errors import InputError
from repair_pipeline.training.fit import predictions
from repair_pipeline.types import Examples, TestPartition

FEWEST_FAILURES = 6
"""Below this a tenth of the query side, the query side and the holdout cannot each hold a row worth reading."""


def partition(
    model: nn.Module,
    test: Examples,
    query_fraction: float,
    rng: np.random.Generator,
    targets: Collection[int] | None = None,
) -> TestPartition:
    """Half of the failures are the holdout; of the other half's ``query_fraction``, a tenth is query_tuning.

    A class-stratified half of the correctly classified rows is the guard, in every case, so that ``remaining`` is the
    same rows whatever use is made of the guard.

    Args:
        targets: the classes whose failures are to be repaired; the other failures are set aside. None: all of them.

    Raises:
        InputError: the model makes too few failures to find causes with and to prove a repair on.
    """
    wrong = predictions(model, test) != test.labels
    targeted = wrong if targets is None else wrong & torch.isin(test.labels, torch.tensor(sorted(targets)))
    failures = rng.permutation(torch.nonzero(targeted).flatten().numpy())
    right = torch.nonzero(~wrong).flatten()
    if len(failures) < FEWEST_FAILURES:
        raise InputError(
            f"the base model fails on {len(failures)} of {len(test)} test rows{_of(targets)}, {FEWEST_FAILURES} are "
            "needed to split them into query, tuning and holdout: give more test rows, or leave this model as it is"
        )
    holdout, side = np.split(failures, [len(failures) // 2])
    side, unused = np.split(side, [max(2, round(query_fraction * len(side)))])
    tuning, query = np.split(side, [max(1, round(0.1 * len(side)))])
    remaining, guard = stratified_split(test.labels[right], 0.5, rng)

    def rows(at: np.ndarray) -> Examples:
        return test[torch.from_numpy(np.sort(at))]

    return TestPartition(
        query=rows(query),
        query_tuning=rows(tuning),
        holdout=rows(holdout),
        guard=test[right[guard]],
        remaining=test[right[remaining]],
        unused_query=rows(unused),
        other_failures=test[wrong & ~targeted],
    )


def _of(targets: Collection[int] | None) -> str:
    return "" if targets is None else f" of the classes {', '.join(map(str, sorted(targets)))}"
