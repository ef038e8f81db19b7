"""What a repair is compared by: controls with random rows in place of causes, and the repair from other seeds."""

from collections.abc import Callable

from torch import nn

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.types import Causes


def control(number: int, treatment: Treatment, removed: int, seed: int, task: Callable[[str], RepairTask]) -> nn.Module:
    """The model after ``treatment`` with ``removed`` random fit rows as causes.

    Args:
        number: of the control; each has its own random stream.
        treatment: the repair's treatment.
        removed: number of rows that the repair removed.
        seed: the case's seed.
        task: gives the repair task with the random stream of a step.
    """
    step = f"gate_control/{number}"
    control_task = task(step)
    ids = numpy_stream(seed, step).permutation(control_task.fit.ids)[:removed]
    return treatment.repaired(control_task, Causes(tuple(ids.tolist())))


def reseeded(number: int, treatment: Treatment, causes: Causes, task: Callable[[str], RepairTask]) -> nn.Module:
    """The model after the repair's own treatment and causes, from another random stream.

    Args:
        number: of the seed; each has its own random stream.
        treatment: the repair's treatment.
        causes: the repair's causes.
        task: gives the repair task with the random stream of a step.
    """
    return treatment.repaired(task(f"gate_repair/{number}"), causes)
