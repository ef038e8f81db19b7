"""The catalogue of influence methods, by the names used in cases, tables and assets."""

from functools import partial

from repair_pipeline.influence.aum import AUM
from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random
from repair_pipeline.influence.clean_rows import CleanReference, FinetuneLoss
from repair_pipeline.influence.cross_fit import CrossFitInfluence
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.external.confident_learning import ConfidentLearning
from repair_pipeline.influence.external.ekfac import EKFAC
from repair_pipeline.influence.external.trak import TRAK
from repair_pipeline.influence.functional import FunctionalInfluence
from repair_pipeline.influence.linear import LinearInfluence
from repair_pipeline.influence.out_of_bag import OutOfBag
from repair_pipeline.influence.protocol import Method
from repair_pipeline.influence.self_influence import SelfInfluence
from repair_pipeline.influence.sgd import SGDInfluence
from repair_pipeline.influence.vcl import VCLInfluence
from repair_pipeline.plugins import Catalogue
from repair_pipeline.problem.cost import Cost

_BUILTIN = {
    "ewc": Method(
        EWCInfluence,
        "EWC-influence: the model learns the failures beside healthy cases; rows that turn unlikely rank first",
        cost=Cost(steps=150, forward=1),
    ),
    "ewc_difference": Method(
        partial(EWCInfluence, reading="difference"),
        "EWC-influence as the paper reads it: rows that turn less likely than they were rank first",
        cost=Cost(steps=150, forward=2),
    ),
    "ewc_paper": Method(
        partial(EWCInfluence, stopping="paper", guard="none", reading="difference"),
        "EWC-influence with the paper's stopping rule and no healthy cases",
        cost=Cost(steps=80, forward=2),
    ),
    "sgd": Method(
        SGDInfluence,
        "SGD-influence: what the failures would gain if a row were left out of further training",
        cost=Cost(epochs=40),
    ),
    "linear_gd": Method(
        LinearInfluence,
        "linear influence: one natural-gradient step on the failures, its linear system solved by descent",
        cost=Cost(products=15, forward=2),
    ),
    "linear_sa": Method(
        partial(LinearInfluence, solver="sa"),
        "linear influence, its linear system solved by stochastic approximation",
        cost=Cost(products=16, forward=2),
    ),
    "ewc_kfac": Method(
        partial(EWCInfluence, curvature="kfac"),
        "EWC-influence with a K-FAC posterior instead of a diagonal one",
        cost=Cost(steps=250, forward=1, gradients=1),
    ),
    "vcl": Method(
        VCLInfluence,
        "variational continual learning: EWC-influence with Gaussians for both posteriors",
        cost=Cost(steps=200, forward=5),
    ),
    "functional": Method(
        FunctionalInfluence,
        "EWC-influence that holds the model's answers on the training rows instead of its parameters",
        cost=Cost(steps=450, forward=1),
    ),
    "cross_fit": Method(
        CrossFitInfluence,
        "cross-fitting: rows unlikely to models that learnt the failures and healthy cases, but not them, rank first",
        calibrates=True,
        cost=Cost(forward=1),
    ),
    "loss": Method(Loss, "training loss: rows that the model finds unlikely rank first", "baseline"),
    "margin": Method(
        Margin,
        "logit margin: rows whose given label loses to another by most rank first",
        "baseline",
        cost=Cost(forward=1),
    ),
    "aum": Method(
        AUM,
        "area under the margin: rows whose given label loses to another throughout a training rank first",
        "baseline",
        cost=Cost(trainings=1, forward=45),
    ),
    "out_of_bag": Method(
        OutOfBag,
        "out-of-bag loss: rows unlikely to models trained on other halves of the data rank first",
        "baseline",
        cost=Cost(trainings=3, forward=3),
    ),
    "finetune_loss": Method(
        FinetuneLoss,
        "loss of the model fine-tuned on the failures and the healthy cases, with nothing else to hold it",
        "baseline",
        cost=Cost(steps=150, forward=1),
    ),
    "clean_reference": Method(
        CleanReference,
        "loss of a new model trained on the failures and the healthy cases alone",
        "baseline",
        cost=Cost(steps=600, forward=1),
    ),
    "self_influence": Method(
        SelfInfluence, "self-influence: rows with the largest gradients rank first", "baseline", cost=Cost(gradients=1)
    ),
    "confident_learning": Method(
        ConfidentLearning,
        "confident learning (cleanlab): rows unlikely to models trained without them rank first",
        "baseline",
        needs_classes=True,
        cost=Cost(trainings=4, forward=1),
    ),
    "trak": Method(
        TRAK,
        "TRAK (traker): rows whose projected gradients oppose the failures'",
        "baseline",
        needs_classes=True,
        cost=Cost(gradients=2),
    ),
    "ekfac": Method(
        EKFAC,
        "influence functions with an EK-FAC Fisher (kronfluence): rows whose gradients oppose the failures'",
        "baseline",
        needs_classes=True,
        cost=Cost(gradients=3),
    ),
    "random": Method(Random, "any order, as good as chance", "control"),
    "oracle": Method(Oracle, "planted rows first, by construction", "reference"),
}
METHODS = Catalogue("influence method", "repair_pipeline.influence", Method, _BUILTIN)
"""In the order of their steps. A plugin package adds methods by entry points of this group, each a ``Method``."""
register_influence = METHODS.register
