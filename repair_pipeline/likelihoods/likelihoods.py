"""The catalogue of likelihoods: each by the name that a case or a problem says."""

from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.plugins import Catalogue

_OURS = {
    "softmax": SOFTMAX,
}
LIKELIHOODS = Catalogue("likelihood", "repair_pipeline.likelihoods", Likelihood, _OURS)
"""A package brings its own by entry points of this group: each names a ``Likelihood``."""
register_likelihood = LIKELIHOODS.register
