"""The catalogue of influence methods, by the names used in cases, tables and assets."""

from functools import partial

from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random
from repair_pipeline.influence.clean_rows import CleanReference, FinetuneLoss
from repair_pipeline.influence.cross_fit import CrossFitInfluence
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.external.confident_learning import ConfidentLearning
from repair_pipeline.influence.external.ekfac import EKFAC
from repair_pipeline.influence.external.trak import TRAK
from repair_pipeline.influence.functional import FunctionalInfluence
from repair_pipeline.influence.linear import LinearInfluence
from repair_pipeline.influence.protocol import Method
from repair_pipeline.influence.self_influence import SelfInfluence
from repair_pipeline.influence.sgd import SGDInfluence
from repair_pipeline.influence.vcl import VCLInfluence
from repair_pipeline.plugins import Catalogue

_BUILTIN = {
    "ewc": Method(
        EWCInfluence,
        "EWC-influence: the model learns the failures beside healthy cases; rows that turn unlikely rank first",
    ),
    "ewc_difference": Method(
        partial(EWCInfluence, reading="difference"),
        "EWC-influence as the paper reads it: rows that turn less likely than they were rank first",
    ),
    "ewc_paper": Method(
        partial(EWCInfluence, stopping="paper", guard="none", reading="difference"),
        "EWC-influence with the paper's stopping rule and no healthy cases",
    ),
    "sgd": Method(
        SGDInfluence, "SGD-influence: what the failures would gain if a row were left out of further training"
    ),
    "linear_gd": Method(
        LinearInfluence,
        "linear influence: one natural-gradient step on the failures, its linear system solved by descent",
    ),
    "linear_sa": Method(
        partial(LinearInfluence, solver="sa"),
        "linear influence, its linear system solved by stochastic approximation",
    ),
    "ewc_kfac": Method(
        partial(EWCInfluence, curvature="kfac"), "EWC-influence with a K-FAC posterior instead of a diagonal one"
    ),
    "vcl": Method(VCLInfluence, "variational continual learning: EWC-influence with Gaussians for both posteriors"),
    "functional": Method(
        FunctionalInfluence,
        "EWC-influence that holds the model's answers on the training rows instead of its parameters",
    ),
    "cross_fit": Method(
        CrossFitInfluence,
        "cross-fitting: rows unlikely to models that learnt the failures and healthy cases, but not them, rank first",
        calibrates=True,
    ),
    "loss": Method(Loss, "training loss: rows that the model finds unlikely rank first", "baseline"),
    "margin": Method(Margin, "logit margin: rows whose given label loses to another by most rank first", "baseline"),
    "finetune_loss": Method(
        FinetuneLoss,
        "loss of the model fine-tuned on the failures and the healthy cases, with nothing else to hold it",
        "baseline",
    ),
    "clean_reference": Method(
        CleanReference, "loss of a new model trained on the failures and the healthy cases alone", "baseline"
    ),
    "self_influence": Method(SelfInfluence, "self-influence: rows with the largest gradients rank first", "baseline"),
    "confident_learning": Method(
        ConfidentLearning,
        "confident learning (cleanlab): rows unlikely to models trained without them rank first",
        "baseline",
    ),
    "trak": Method(TRAK, "TRAK (traker): rows whose projected gradients oppose the failures'", "baseline"),
    "ekfac": Method(
        EKFAC,
        "influence functions with an EK-FAC Fisher (kronfluence): rows whose gradients oppose the failures'",
        "baseline",
    ),
    "random": Method(Random, "any order, as good as chance", "control"),
    "oracle": Method(Oracle, "planted rows first, by construction", "reference"),
}
METHODS = Catalogue("influence method", "repair_pipeline.influence", Method, _BUILTIN)
"""In the order of their steps. A plugin package adds methods by entry points of this group, each a ``Method``."""
register_influence = METHODS.register
