"""Trials of a model on a few rows, for what a run needs besides gradients."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.trajectory import change_if_left_out, run_sgd
from repair_pipeline.errors import one_line
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.external.ekfac import EKFAC
from repair_pipeline.influence.external.trak import TRAK
from repair_pipeline.influence.linear import LinearInfluence
from repair_pipeline.influence.sgd import SGDInfluence
from repair_pipeline.likelihoods.reading import off, reading_of
from repair_pipeline.models.copying import copied
from repair_pipeline.training.fit import logits
from repair_pipeline.training.outputs import require_tensor
from repair_pipeline.types import Examples


def squashed(model: nn.Module, rows: Examples) -> bool:
    """Whether all outputs lie within [0, 1] whatever the parameters are, as those of a Sigmoid do."""
    larger = copied(model)
    with torch.no_grad():
        for parameter in larger.parameters():
            parameter.mul_(10)
    return all(bool(((out >= 0) & (out <= 1)).all()) for out in (logits(each, rows) for each in (model, larger)))


def mixes_rows(model: nn.Module, rows: Examples) -> bool:
    """Whether a row's outputs change with the rows beside it."""
    together, alone = logits(model, rows), logits(model, rows, batch_size=1)
    return not torch.allclose(
        alone, together, rtol=1e-3, atol=1e-3 * max(1.0, float(together.abs().max())), equal_nan=True
    )


def fails_in_train_mode(model: nn.Module, rows: Examples) -> str | None:
    """Why the model cannot be trained, where it cannot.

    Raises:
        InputError: it returns no tensor in train mode.
    """
    with torch.random.fork_rng(), torch.no_grad():
        try:
            outputs = copied(model).train()(rows.inputs)
        except Exception as error:
            return one_line(error)
    require_tensor(outputs, mode=" in train mode")
    return None


def auxiliary_outputs(model: nn.Module, rows: Examples) -> str | None:
    """The type of what the model returns in train mode, if that is no tensor though it is one in eval mode."""
    with torch.random.fork_rng(), torch.no_grad():
        at, named = (reading := reading_of(model)).arguments(reading.converted(model, rows.inputs))
        outputs = off(copied(model)).train()(*at, **named)
    if isinstance(outputs, Tensor) or reading_of(model).returns:
        return None
    return type(outputs).__name__


def unsupported(spec: CaseSpec, classifier: Classifier, rows: Examples) -> Iterator[tuple[str, str]]:
    """The case's influence methods that cannot work on the model, each with the reason.

    The methods that need more of a model than gradients: K-FAC what each layer reads, SGD-influence second derivatives.
    """
    theta = classifier.theta_hat
    for name in spec.influence:
        method = spec.influence_method(name)
        try:
            if isinstance(method, EKFAC | TRAK):
                _ = rows.tensor
            if isinstance(method, EWCInfluence | LinearInfluence) and method.curvature in ("kfac", "ekfac"):
                kfac(classifier, theta, rows)
            if isinstance(method, SGDInfluence):
                one_step = run_sgd(classifier, theta, rows, (torch.arange(len(rows)),), learning_rate=1e-6, spacing=1)
                change_if_left_out(one_step, classifier, rows, torch.ones_like(theta))
        except Exception as error:
            yield name, one_line(error)
