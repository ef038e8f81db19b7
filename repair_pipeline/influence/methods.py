"""Every influence method by the name that cases, tables and assets use."""

from collections.abc import Callable, Mapping
from functools import partial

from repair_pipeline.influence.baselines import Loss, Margin, Oracle, Random
from repair_pipeline.influence.clean_rows import CleanReference, FinetuneLoss
from repair_pipeline.influence.ewc import EWCInfluence
from repair_pipeline.influence.functional import FunctionalInfluence
from repair_pipeline.influence.linear import LinearInfluence
from repair_pipeline.influence.peers.confident_learning import ConfidentLearning
from repair_pipeline.influence.peers.ekfac import EKFAC
from repair_pipeline.influence.peers.trak import TRAK
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.influence.self_influence import SelfInfluence
from repair_pipeline.influence.sgd import SGDInfluence
from repair_pipeline.influence.vcl import VCLInfluence

METHODS: Mapping[str, Callable[..., InfluenceMethod]] = {
    "ewc": EWCInfluence,
    "ewc_difference": partial(EWCInfluence, reading="difference"),
    "ewc_paper": partial(EWCInfluence, stopping="paper", guard="none", reading="difference"),
    "sgd": SGDInfluence,
    "linear_gd": LinearInfluence,
    "linear_sa": partial(LinearInfluence, solver="sa"),
    "ewc_kfac": partial(EWCInfluence, curvature="kfac"),
    "vcl": VCLInfluence,
    "functional": FunctionalInfluence,
    "loss": Loss,
    "margin": Margin,
    "finetune_loss": FinetuneLoss,
    "clean_reference": CleanReference,
    "self_influence": SelfInfluence,
    "confident_learning": ConfidentLearning,
    "trak": TRAK,
    "ekfac": EKFAC,
    "random": Random,
    "oracle": Oracle,
}
