"""Maximum likelihood by Adam with early stopping (App. C): base training, fine-tuning and retraining."""

import copy
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float, Int64
from pydantic import ConfigDict, Field, PositiveInt
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from repair_pipeline.likelihoods.protocol import log_p
from repair_pipeline.models.copying import copied
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.training.stopping import Patience
from repair_pipeline.types import Examples, Progress, silent


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Schedule:
    """App. C's training scheme."""

    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    batch_size: PositiveInt = 64
    max_epochs: PositiveInt = 100
    patience: PositiveInt = 5


def fit(
    model: nn.Module,
    train: Examples,
    validation: Examples,
    schedule: Schedule,
    generator: torch.Generator,
    mode: Literal["train", "frozen"],
    progress: Progress = silent,
) -> nn.Module:
    """A copy of ``model`` fitted to ``train``, with the weights of the epoch that was best on ``validation``.

    Best is the highest mean p(y|x). App. C says "no progress on the validation set" and not of what; the validation
    rows are as noisy as the rest, and unlike the mean log-likelihood or the accuracy, the mean probability neither
    punishes a model for rejecting wrong labels nor moves in coarse steps (``docs/adr/0006``).

    Args:
        mode: ``train`` for training from scratch; ``frozen`` (eval mode, buffers as they are) for fine-tuning, so that
            dropout and batch normalisation do not change what the parameters mean.
        generator: draws the batches, and seeds what the model itself draws (dropout).

    Returns:
        A new model on ``model``'s device, in eval mode.

    Raises:
        FloatingPointError: no epoch had a score.
        InputError: the model returns no tensor, as one with auxiliary outputs does in train mode.
    """
    device = next(model.parameters()).device
    model = copied(model)
    optimiser = torch.optim.Adam(model.parameters(), lr=schedule.learning_rate)
    patience = Patience(schedule.patience)
    best: dict[str, Any] | None = None
    with torch.random.fork_rng():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        for epoch in range(schedule.max_epochs):
            model.train(mode == "train")
            for chosen in torch.randperm(len(train), generator=generator).split(schedule.batch_size):
                batch = train[chosen].to(device)
                optimiser.zero_grad()
                outputs = require_tensor(model(batch.inputs), mode=" in train mode" if mode == "train" else "")
                nn.functional.cross_entropy(outputs, batch.labels).backward()
                optimiser.step()
            progress(epoch + 1, schedule.max_epochs)
            if patience.improves(mean_probability(model, validation)):
                best = copy.deepcopy(model.state_dict())
            elif patience.spent:
                break
    if best is None:
        raise FloatingPointError(
            f"training has diverged: after {epoch + 1} epochs no score on the {len(validation)} validation rows was a "
            f"number; use a learning rate below {schedule.learning_rate:g}"
        )
    model.load_state_dict(best)
    return model.eval()


@torch.no_grad()
def logits(
    model: nn.Module, examples: Examples, batch_size: int = 500, progress: Progress = silent
) -> Float[Tensor, "n k"]:
    """The model's outputs in eval mode, on the CPU."""
    device = next(model.parameters()).device
    model.eval()
    made, done = [], 0
    for batch in examples.batches(batch_size):
        made.append(model(batch.inputs.to(device)).cpu())
        done += len(batch)
        progress(done, len(examples))
    return torch.cat(made)


def predictions(model: nn.Module, examples: Examples, progress: Progress = silent) -> Int64[Tensor, " n"]:
    """The predicted classes, on the CPU."""
    return logits(model, examples, progress=progress).argmax(dim=1)


def accuracy(model: nn.Module, examples: Examples) -> float:
    """The share of ``examples`` predicted as labelled."""
    return (predictions(model, examples) == examples.labels.cpu()).double().mean().item()


def mean_probability(model: nn.Module, examples: Examples) -> float:
    """The mean of p(y|x) over ``examples``: one minus the mean absolute error, which label noise does not mislead."""
    return log_p(logits(model, examples), examples.labels.cpu()).double().exp().mean().item()
