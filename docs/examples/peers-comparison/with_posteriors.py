"""Eq. 7 by posteriors, which has no attribution: a Laplace posterior, VI on the failures from it, and both read."""

import pandas as pd
import posteriors
import torch
import torchopt
from job import Job
from torch.func import functional_call
from torch.nn.functional import cross_entropy


def harmful(job: Job, guarded: bool) -> pd.DataFrame:
    """The training rows by harm, most harmful first; with rows that must stay right, or without."""
    query = [torch.cat(columns) for columns in zip(job.failures, job.guard, strict=True)] if guarded else job.failures
    params = {name: value.detach() for name, value in job.model.named_parameters()}

    def log_p(params, batch):
        x, y = batch
        return -cross_entropy(functional_call(job.model, params, x), y, reduction="none"), torch.tensor([])

    laplace = posteriors.laplace.diag_fisher.build(log_p, per_sample=True, init_prec_diag=100.0)
    before, _ = laplace.update(laplace.init(params), job.train)
    sds = {name: value.rsqrt() for name, value in before.prec_diag.items()}

    def log_posterior(params, batch):
        log_likelihood, aux = log_p(params, batch)
        return log_likelihood.sum() + posteriors.diag_normal_log_prob(params, before.params, sds), aux

    log_sds = {name: value.log() for name, value in sds.items()}
    vi = posteriors.vi.diag.build(log_posterior, torchopt.adam(lr=1e-3), init_log_sds=log_sds)
    after = vi.init(params)
    for _ in range(200):
        after, _ = vi.update(after, query)

    with torch.no_grad():  # read at the means: read by samples it found fewer
        influence = log_p(before.params, job.train)[0] - log_p(after.params, job.train)[0]
    table = pd.DataFrame({"position": range(len(influence)), "influence": influence.numpy()})
    return table.sort_values("influence", ascending=False, ignore_index=True)
