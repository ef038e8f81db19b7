"""EK-FAC influence by kronfluence, with its defaults: the method that the library is made for."""

import logging
from tempfile import TemporaryDirectory

import pandas as pd
import torch
from job import Job
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import ScoreArguments
from kronfluence.task import Task
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset


class Classification(Task):
    """The training loss, and the loss that is measured on the failures."""

    def compute_train_loss(self, batch, model, sample=False):
        x, y = batch
        logits = model(x)
        if sample:
            y = torch.multinomial(logits.detach().softmax(1), 1).flatten()
        return cross_entropy(logits, y, reduction="sum")

    def compute_measurement(self, batch, model):
        x, y = batch
        return cross_entropy(model(x), y, reduction="sum")


def harmful(job: Job, guarded: bool) -> pd.DataFrame:
    """The training rows by harm, most harmful first; with rows that must stay right, or without."""
    query = [torch.cat(columns) for columns in zip(job.failures, job.guard, strict=True)] if guarded else job.failures
    task, train = Classification(), TensorDataset(*job.train)
    with TemporaryDirectory() as folder:
        model = prepare_model(job.model, task)
        analyzer = Analyzer("job", model, task, cpu=True, disable_tqdm=True, log_level=logging.ERROR, output_dir=folder)
        analyzer.fit_all_factors("ekfac", train, per_device_batch_size=128)
        analyzer.compute_pairwise_scores(
            "scores",
            "ekfac",
            query_dataset=TensorDataset(*query),
            train_dataset=train,
            per_device_query_batch_size=128,
            per_device_train_batch_size=128,
            score_args=ScoreArguments(aggregate_query_gradients=True),
        )
        # A positive score lowers the query's loss.
        influence = -analyzer.load_pairwise_scores("scores")["all_modules"][0]
    table = pd.DataFrame({"position": range(len(influence)), "influence": influence.numpy()})
    return table.sort_values("influence", ascending=False, ignore_index=True)
