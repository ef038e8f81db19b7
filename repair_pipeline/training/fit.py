"""Maximum likelihood by Adam with early stopping (App. C), and the outputs of a trained model."""

import copy
from typing import Annotated, Any

import torch
from jaxtyping import Bool, Float, Shaped
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.models.copying import copied
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.training.protocol import Start, seeded
from repair_pipeline.training.stopping import Patience
from repair_pipeline.types import Examples, Progress, silent


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Schedule:
    """The training scheme of App. C: Adam with early stopping."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    batch_size: PositiveInt = 64
    max_epochs: PositiveInt = 100
    patience: PositiveInt = 5

    def fit(
        self,
        model: nn.Module,
        train: Examples,
        validation: Examples,
        generator: torch.Generator,
        *,
        start: Start,
        targets: Float[Tensor, "n *k"] | None = None,
        progress: Progress = silent,
    ) -> nn.Module:
        """A copy of ``model`` trained on ``train``, with the weights of the best epoch on ``validation``.

        The best epoch has the highest mean p(y|x). App. C says "no progress on the validation set" without naming the
        score. The validation rows are as noisy as the rest; unlike the mean log-likelihood, the mean probability does
        not punish a model for rejecting wrong labels, and unlike the accuracy it has no coarse steps
        (``docs/adr/0006``).

        Args:
            model: the initial model, left unchanged.
            train: training rows.
            validation: rows for early stopping.
            generator: draws the batches, and seeds the model's own randomness (dropout).
            start: a ``new`` model is trained in train mode; one that is ``trained`` in eval mode with fixed buffers, so
                that dropout and batch normalisation do not change the meaning of the parameters.
            targets: as in ``Training.fit``.
            progress: called after each epoch.

        Returns:
            A new model on ``model``'s device, in eval mode.

        Raises:
            FloatingPointError: training diverged: no epoch had a finite score.
            InputError: the model does not return a tensor, for example one with auxiliary outputs in train mode.
        """
        device = next(model.parameters()).device
        model, likelihood = copied(model), likelihood_of(model)
        optimiser = torch.optim.Adam(model.parameters(), lr=self.learning_rate)
        patience = Patience(self.patience)
        best: dict[str, Any] | None = None
        with seeded(generator):
            for epoch in range(self.max_epochs):
                model.train(start == "new")
                for chosen in torch.randperm(len(train), generator=generator).split(self.batch_size):
                    batch = train[chosen].to(device)
                    optimiser.zero_grad()
                    outputs = require_tensor(model(batch.inputs), mode=" in train mode" if start == "new" else "")
                    labels = batch.labels if targets is None else targets[chosen].to(outputs)
                    likelihood.loss(outputs, labels).backward()
                    optimiser.step()
                progress(epoch + 1, self.max_epochs)
                if patience.improves(mean_probability(model, validation)):
                    best = copy.deepcopy(model.state_dict())
                elif patience.spent:
                    break
        if best is None:
            raise FloatingPointError(
                f"training diverged: in {epoch + 1} epochs no score on the {len(validation)} validation rows was "
                f"finite; use a learning rate below {self.learning_rate:g}"
            )
        model.load_state_dict(best)
        return model.eval()


@torch.no_grad()
def logits(
    model: nn.Module, examples: Examples, batch_size: int = 500, progress: Progress = silent
) -> Float[Tensor, "n *k"]:
    """The model's outputs, in eval mode and on the CPU.

    Raises:
        InputError: the model fails on a row.
    """
    device = next(model.parameters()).device
    model.eval()
    outputs, done = [], 0
    for batch in examples.batches(batch_size):
        try:
            outputs.append(model(batch.inputs.to(device)).cpu())
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the model's own
            raise InputError(
                f"the model fails on one of the {len(batch)} rows from {batch.ids[0]} to {batch.ids[-1]} "
                f"({one_line(error)}): correct the row, or what the model does with it"
            ) from error
        done += len(batch)
        progress(done, len(examples))
    return torch.cat(outputs)


def predictions(model: nn.Module, examples: Examples, progress: Progress = silent) -> Shaped[Tensor, "n *l"]:
    """The predicted labels, such as classes, on the CPU."""
    return likelihood_of(model).said(logits(model, examples, progress=progress))


def right(model: nn.Module, examples: Examples, progress: Progress = silent) -> Bool[Tensor, " n"]:
    """Whether the model gets each row right, on the CPU; a row that it does not is a failure."""
    return likelihood_of(model).agree(predictions(model, examples, progress), examples.labels.cpu())


def accuracy(model: nn.Module, examples: Examples) -> float:
    """The share of ``examples`` that the model gets right."""
    return right(model, examples).double().mean().item()


def mean_error(model: nn.Module, examples: Examples) -> float | None:
    """The mean absolute error over ``examples``, in the label's unit; None where labels have no distance."""
    errors = likelihood_of(model).errors(logits(model, examples), examples.labels.cpu())
    return None if errors is None else errors.mean().item()


def mean_probability(model: nn.Module, examples: Examples) -> float:
    """The mean of p(y|x) over ``examples``: of classes one minus the mean absolute error, which bears wrong labels."""
    return likelihood_of(model).probability(logits(model, examples), examples.labels.cpu()).mean().item()
