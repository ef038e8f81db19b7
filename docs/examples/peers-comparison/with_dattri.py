"""Influence functions by conjugate gradients, as dattri's own first example has them."""

import pandas as pd
import torch
from dattri.algorithm.influence_function import IFAttributorCG
from dattri.task import AttributionTask
from job import Job
from torch.func import functional_call
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset


def harmful(job: Job, guarded: bool) -> pd.DataFrame:
    """The training rows by harm, most harmful first; with rows that must stay right, or without."""
    query = [torch.cat(columns) for columns in zip(job.failures, job.guard, strict=True)] if guarded else job.failures

    def loss(params, batch):
        x, y = batch
        return cross_entropy(functional_call(job.model, params, x), y)

    task = AttributionTask(loss, job.model, job.model.state_dict())
    attributor = IFAttributorCG(task, max_iter=10, regularization=1e-2)
    train = DataLoader(TensorDataset(*job.train), batch_size=len(job.train[1]))
    attributor.cache(train)
    pairs = attributor.attribute(train, DataLoader(TensorDataset(*query), batch_size=128))
    # A positive score lowers the query's loss.
    influence = -pairs.detach().sum(1)
    table = pd.DataFrame({"position": range(len(influence)), "influence": influence.numpy()})
    return table.sort_values("influence", ascending=False, ignore_index=True)
