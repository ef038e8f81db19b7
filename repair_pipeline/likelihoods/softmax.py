"""One output a class, its logit: what a classifier is trained with unless it says otherwise."""

from repair_pipeline.likelihoods.protocol import Likelihood

SOFTMAX = Likelihood(None, "softmax: an output a class, p(y|x) proportional to its exponential")
