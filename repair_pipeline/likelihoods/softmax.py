"""The default likelihood, one output per class, its logit; and which one a model has."""

from torch import nn

from repair_pipeline.likelihoods.protocol import Likelihood

SOFTMAX = Likelihood(None, "softmax: an output a class, p(y|x) proportional to its exponential")


def likelihood_of(model: nn.Module) -> Likelihood:
    """The likelihood of a model's outputs: what was added to it last, or else the softmax."""
    owners = [getattr(hook, "__self__", None) for hook in model._forward_hooks.values()]
    added = (getattr(owner, "likelihood", owner) for owner in reversed(owners))  # a Reading has one
    return next((each for each in added if isinstance(each, Likelihood)), SOFTMAX)
