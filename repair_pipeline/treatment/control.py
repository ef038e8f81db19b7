"""What a repair must beat: the same treatment of random rows."""

from collections.abc import Callable

from torch import nn

from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.problem.task import RepairTask
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.types import Causes


def control(number: int, treatment: Treatment, removed: int, seed: int, task: Callable[[str], RepairTask]) -> nn.Module:
    """``treatment`` of ``removed`` random fit rows, which the control's ``number`` draws from its own stream.

    Args:
        task: what may be read, with the random stream of the step that it is called with.
    """
    step = f"gate_control/{number}"
    given = task(step)
    ids = numpy_stream(seed, step).permutation(given.fit.ids)[:removed]
    return treatment.repaired(given, Causes(tuple(ids.tolist())))
