"""The baseline that needs no library and no failures: the loss of each training row."""

import pandas as pd
import torch
from job import Job
from torch.nn.functional import cross_entropy


def harmful(job: Job, guarded: bool) -> pd.DataFrame:
    """The training rows by loss, greatest first."""
    with torch.no_grad():
        influence = cross_entropy(job.model(job.train[0]), job.train[1], reduction="none")
    table = pd.DataFrame({"position": range(len(influence)), "influence": influence.numpy()})
    return table.sort_values("influence", ascending=False, ignore_index=True)
