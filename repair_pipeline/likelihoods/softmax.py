"""The default likelihood: one output per class, its logit."""

from repair_pipeline.likelihoods.protocol import Likelihood

SOFTMAX = Likelihood(None, "softmax: an output a class, p(y|x) proportional to its exponential")
