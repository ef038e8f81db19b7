"""The catalogue of likelihoods, by name."""

from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.plugins import Catalogue

_BUILTIN = {
    "softmax": SOFTMAX,
}
LIKELIHOODS = Catalogue("likelihood", "repair_pipeline.likelihoods", Likelihood, _BUILTIN)
"""A plugin package adds likelihoods by entry points of this group, each naming a ``Likelihood``."""
register_likelihood = LIKELIHOODS.register
