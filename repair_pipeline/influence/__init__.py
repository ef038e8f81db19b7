"""Step I: which training examples caused the failures. One class per influence method; its arguments are settings."""

from repair_pipeline.influence.aum import AUM
from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random
from repair_pipeline.influence.clean_rows import CleanReference, FinetuneLoss
from repair_pipeline.influence.cross_fit import CrossFitInfluence as CrossFit
from repair_pipeline.influence.ewc import EWCInfluence as EWC
from repair_pipeline.influence.external.confident_learning import ConfidentLearning
from repair_pipeline.influence.external.ekfac import EKFAC
from repair_pipeline.influence.external.trak import TRAK
from repair_pipeline.influence.functional import FunctionalInfluence as Functional
from repair_pipeline.influence.linear import LinearInfluence as Linear
from repair_pipeline.influence.out_of_bag import OutOfBag
from repair_pipeline.influence.self_influence import SelfInfluence
from repair_pipeline.influence.sgd import SGDInfluence as SGD
from repair_pipeline.influence.vcl import VCLInfluence as VCL

__all__ = [
    "AUM",
    "EKFAC",
    "EWC",
    "SGD",
    "TRAK",
    "VCL",
    "CleanReference",
    "ConfidentLearning",
    "CrossFit",
    "FinetuneLoss",
    "Functional",
    "Linear",
    "Loss",
    "Margin",
    "Oracle",
    "OutOfBag",
    "Random",
    "SelfInfluence",
]
