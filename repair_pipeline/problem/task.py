"""What is given to whoever looks for causes or treats them."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.training.fit import Schedule
from repair_pipeline.types import Examples, Progress, QuerySide, Theta, silent


@dataclass(frozen=True, eq=False)
class RepairTask:
    """A model with failures, and all that may be read to repair it. The holdout is not here."""

    classifier: Classifier
    """log p(z|θ), and the model's parameters θ̂."""
    fisher: Theta
    """diag F̂ over fit."""
    log_lik_hat: Float64[Tensor, " n"]
    """log p(z|θ̂) of the fit rows, in nats."""
    fit: Examples
    """D: N rows."""
    validation: Examples
    tests: QuerySide
    truth: frozenset[str] | None
    """Ids of the planted rows, which studies know; None: out of reach, as it is for all but references."""
    schedule: Schedule
    """How the base model was trained."""
    untrained: Callable[[torch.Generator], nn.Module]
    """A newly initialised model of the same architecture, on the same device."""
    generator: torch.Generator
    progress: Progress = silent

    @property
    def theta_hat(self) -> Theta:
        return self.classifier.theta_hat

    @property
    def corrupted(self) -> frozenset[str]:
        """Ids of the planted rows, for a method whose role is ``reference``.

        Raises:
            PermissionError: the truth is out of reach.
        """
        if self.truth is None:
            raise PermissionError("which rows are planted is for methods whose role in the catalogue is 'reference'")
        return self.truth

    def gamma(self, given: float | None) -> float:
        """``given``, or the posterior's own γ = 2/N (the contract's reading; ``docs/adr/0004``)."""
        return 2 / len(self.fit) if given is None else given


def in_fair_order(tests: QuerySide, seed: int) -> QuerySide:
    """The same rows, the guard's in the random order of ``seed``, as ``QuerySide`` asks for."""
    shuffled = torch.randperm(len(tests.guard), generator=torch_stream(seed, "guard"))
    return replace(tests, guard=tests.guard[shuffled])
