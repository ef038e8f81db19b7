"""The repair task: the input of influence methods and treatments."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.training.fit import Schedule
from repair_pipeline.training.protocol import Training
from repair_pipeline.types import Examples, OutOfFold, Progress, QuerySide, Theta, silent


@dataclass(frozen=True, eq=False)
class RepairTask:
    """A model with failures and everything that may be read to repair it; without the holdout."""

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
    """Ids of the planted rows, for methods of the role ``reference`` in a study; None for all others."""
    training: Training
    """How the owner trains: what the base model was made by, where the case made it."""
    untrained: Callable[[torch.Generator], nn.Module]
    """Creates a newly initialised model of the same architecture, on the same device."""
    generator: torch.Generator
    progress: Progress = silent
    unknown_recipe: bool = False
    """Whether the base model was trained elsewhere, in a way that the case does not give."""
    stored_out_of_fold: Callable[[], OutOfFold] | None = None
    """Reads predictions of models that were not trained on the row; None: they are computed where they are needed."""

    @property
    def monitored(self) -> bool:
        """Whether what fine-tuning reaches is monitored on guard rows: always, except where App. C trained θ̂."""
        return self.unknown_recipe or not isinstance(self.training, Schedule)

    @property
    def theta_hat(self) -> Theta:
        return self.classifier.theta_hat

    @property
    def corrupted(self) -> frozenset[str]:
        """Ids of the planted rows, for a method whose role is ``reference``.

        Raises:
            PermissionError: this method may not read the truth.
        """
        if self.truth is None:
            raise PermissionError("only methods whose role in the catalogue is 'reference' may read the planted rows")
        return self.truth

    def gamma(self, given: float | None) -> float:
        """``given``, or if it is None the posterior's value γ = 2/N (``docs/adr/0004``)."""
        return 2 / len(self.fit) if given is None else given


def in_fair_order(tests: QuerySide, seed: int) -> QuerySide:
    """The same rows, with the guard shuffled by ``seed`` as ``QuerySide`` requires."""
    shuffled = torch.randperm(len(tests.guard), generator=torch_stream(seed, "guard"))
    return replace(tests, guard=tests.guard[shuffled])
