"""EWC-influence by repair_pipeline: https://arxiv.org/abs/2207.04806."""

import pandas as pd
from job import Job

import repair_pipeline as rp


def harmful(job: Job, guarded: bool) -> pd.DataFrame:
    """The training rows by harm, most harmful first; with rows that must stay right, or without."""
    guard = job.guard if guarded else None
    problem = rp.RepairProblem(job.model, job.train, failures=job.failures, guard=guard, validation=job.validation)
    return rp.attribute(problem, "ewc", guard="joint" if guarded else "none").to_pandas()
