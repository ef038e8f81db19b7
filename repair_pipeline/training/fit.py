"""Maximum likelihood by Adam with early stopping (App. C), and the outputs of a trained model."""

import copy
from collections.abc import Callable, Iterable, Iterator
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
    return torch.cat([outputs for _, outputs in _outputs(model, examples, batch_size, progress)])


def _outputs(
    model: nn.Module, examples: Examples, batch_size: int, progress: Progress
) -> Iterator[tuple[Examples, Float[Tensor, "m *k"]]]:
    """Each batch of the rows, with the model's outputs."""
    device, done = next(model.parameters()).device, 0
    model.eval()
    for batch in examples.batches(batch_size):
        try:
            outputs = model(batch.inputs.to(device)).cpu()
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the model's own
            raise InputError(
                f"the model fails on one of the {len(batch)} rows from {batch.ids[0]} to {batch.ids[-1]} "
                f"({one_line(error)}): correct the row, or what the model does with it"
            ) from error
        yield batch, outputs
        done += len(batch)
        progress(done, len(examples))


@torch.no_grad()
def of_rows(
    model: nn.Module,
    examples: Examples,
    of: Callable[[Tensor, Tensor], Shaped[Tensor, "n *v"]],
    progress: Progress = silent,
) -> Shaped[Tensor, "n *v"]:
    """A value of every row, on the CPU; the outputs of all rows are never in memory together.

    Args:
        model: is put into eval mode.
        examples: n rows.
        of: gives the value, from outputs and labels of some rows.
        progress: called for each batch.

    Raises:
        InputError: the model fails on a row.
    """
    batches = _outputs(model, examples, examples.at_once, progress)
    return torch.cat([of(outputs, batch.labels.cpu()) for batch, outputs in batches])


def predictions(model: nn.Module, examples: Examples, progress: Progress = silent) -> Shaped[Tensor, "n *l"]:
    """The predicted labels, such as classes, on the CPU."""
    return of_rows(model, examples, likelihood_of(model).said, progress)


def right(model: nn.Module, examples: Examples, progress: Progress = silent) -> Bool[Tensor, " n"]:
    """Whether the model gets each row right, on the CPU; a row that it does not is a failure."""
    return of_rows(model, examples, likelihood_of(model).right, progress)


def accuracy(model: nn.Module, examples: Examples) -> float:
    """The share of ``examples`` that the model gets right."""
    return right(model, examples).double().mean().item()


def measured(model: nn.Module, parts: Iterable[tuple[float, Examples]]) -> float | None:
    """The task's own number, such as the mean absolute error; None where it has none.

    Args:
        model: the model.
        parts: rows, each with the share of their mean in that of all.
    """
    likelihood = likelihood_of(model)
    if likelihood.measure is None:
        return None
    means = [share * of_rows(model, rows, likelihood.amounts).mean(dim=0) for share, rows in parts if share]
    above, below = torch.stack(means).sum(dim=0).tolist()
    return likelihood.measured(above / below)


def mean_probability(model: nn.Module, examples: Examples) -> float:
    """The mean of p(y|x) over ``examples``: of classes one minus the mean absolute error, which bears wrong labels."""
    return of_rows(model, examples, likelihood_of(model).probability).mean().item()
