"""One row an influence method, a treatment and a likelihood: the laws of ``test_laws.py`` and of
``likelihoods/test_likelihoods.py`` run on every row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.protocol import InfluenceMethod
from repair_pipeline.likelihoods.likelihoods import LIKELIHOODS
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline_tests.plugin_example.catalogue_example import bernoulli


@dataclass(frozen=True)
class MethodRow:
    """An influence method, and which laws are not its own."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    unit: str = "nats"
    finds_learnt_noise: bool = False
    """Ranks mislabelled copies of the failures first although the model has learnt them, and gives them r̃ > 0."""
    reads_truth: bool = False
    reads_failures: bool = True
    follows_rows: bool = True
    """A row's score goes with the row, wherever it stands."""
    tolerance: float = 1e-10
    """To which that holds, relative to the largest score."""
    package: str | None = None
    """What it computes with, from the extra ``peers``; its laws are skipped where that is not installed."""

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])

    def make(self) -> InfluenceMethod:
        return METHODS[self.name](**self.settings)


METHOD_ROWS = [
    MethodRow("ewc", finds_learnt_noise=True),
    MethodRow("cross_fit", follows_rows=False),
    MethodRow("ewc", {"guard": "none"}, finds_learnt_noise=True),
    MethodRow("ewc", {"guard_ratio": 0.5}, finds_learnt_noise=True),
    MethodRow("ewc", {"reading": "linear"}, finds_learnt_noise=True),
    MethodRow("ewc", {"reading": "difference", "guard": "nested"}, finds_learnt_noise=True),
    MethodRow("ewc", {"gamma": 0.2, "prior": 0.1}, finds_learnt_noise=True),
    MethodRow("ewc", {"fisher": "expected"}, finds_learnt_noise=True),
    MethodRow("ewc", {"fisher": "monte_carlo"}, finds_learnt_noise=True, follows_rows=False),
    MethodRow("ewc_difference", finds_learnt_noise=True),
    MethodRow("ewc_paper", finds_learnt_noise=True),
    MethodRow("sgd", finds_learnt_noise=True),
    MethodRow("sgd", {"guard": "none"}, finds_learnt_noise=True),
    MethodRow("linear_gd", finds_learnt_noise=True),
    MethodRow("linear_gd", {"guard": "none", "fisher": "expected"}, finds_learnt_noise=True),
    MethodRow("linear_gd", {"curvature": "ekfac", "fisher": "expected"}, finds_learnt_noise=True),
    MethodRow("linear_gd", {"curvature": "diagonal"}, finds_learnt_noise=True),
    MethodRow("linear_sa", finds_learnt_noise=True),
    MethodRow("ewc_kfac", finds_learnt_noise=True),
    MethodRow("ewc", {"curvature": "ekfac", "fisher": "expected"}, finds_learnt_noise=True),
    # By −log p(z|θ*), what holds D tightest keeps some of the noise that the small network has learnt.
    MethodRow("vcl"),
    MethodRow("ewc", {"curvature": "exact", "fisher": "expected"}),
    MethodRow("functional", follows_rows=False),
    MethodRow("vcl", {"reading": "difference"}, finds_learnt_noise=True),
    MethodRow("vcl", {"reading": "difference", "guard": "nested", "samples": 2}, finds_learnt_noise=True),
    MethodRow("functional", {"reading": "difference"}, finds_learnt_noise=True, follows_rows=False),
    MethodRow("loss", reads_failures=False),
    MethodRow("margin", unit="logits", reads_failures=False),
    # Both draw batches and bags by a row's place.
    MethodRow("aum", unit="logits", reads_failures=False, follows_rows=False),
    MethodRow("out_of_bag", reads_failures=False, follows_rows=False),
    MethodRow("finetune_loss", finds_learnt_noise=True),
    MethodRow("finetune_loss", {"guard": "none"}, finds_learnt_noise=True),
    MethodRow("clean_reference", finds_learnt_noise=True),
    *(
        MethodRow("self_influence", {"fisher": kind}, unit="squared gradient", reads_failures=False)
        for kind in ("empirical", "expected", "monte_carlo")
    ),
    # Both draw by a row's place: folds and batches, and the labels of the Fisher.
    MethodRow("confident_learning", unit="probability", reads_failures=False, follows_rows=False, package="cleanlab"),
    MethodRow("ekfac", finds_learnt_noise=True, follows_rows=False, package="kronfluence"),
    MethodRow("trak", {"proj_dim": 10}, "none", finds_learnt_noise=True, tolerance=1e-3, package="trak"),
    MethodRow("random", unit="none", reads_failures=False, follows_rows=False),
    MethodRow("oracle", unit="none", reads_failures=False, finds_learnt_noise=True, reads_truth=True),
]


@dataclass(frozen=True)
class TreatmentRow:
    """A treatment, and which laws are not its own."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict, hash=False)
    repairs: bool = False
    """Rids the small network of its failures when the mislabelled rows are removed, and breaks nothing else."""
    moves: bool = True
    """Always ends elsewhere than it started."""
    reads_removed: bool = False

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.settings.items())])

    def make(self) -> Treatment:
        return TREATMENTS[self.name].treatment(**self.settings)


TREATMENT_ROWS = [
    TreatmentRow("base", moves=False),
    TreatmentRow("finetune", repairs=True),
    TreatmentRow("correct", reads_removed=True),
    TreatmentRow("correct_data_only", reads_removed=True),
    TreatmentRow("ewc_deletion", repairs=True, reads_removed=True),
    TreatmentRow("ewc_deletion", {"objective": "likelihood", "guard_rho": 0.0}, moves=False, reads_removed=True),
    TreatmentRow("ewc_deletion_paper", moves=False, reads_removed=True),
    TreatmentRow("newton", reads_removed=True),
    TreatmentRow("selective_dampening", {"alpha": 1.0}, reads_removed=True),
    TreatmentRow("scrub", {"learning_rate": 0.01}, repairs=True),
    TreatmentRow("potion", reads_removed=True),
    TreatmentRow("sap", moves=False, reads_removed=True),
    TreatmentRow("retrain", repairs=True),
    TreatmentRow("relabel", repairs=True),
    TreatmentRow("combined", repairs=True),
    TreatmentRow("l2_query", {"strength": 10.0}, repairs=True),
    TreatmentRow("learn_query", repairs=True),
    TreatmentRow("learn_guard"),
    TreatmentRow("reseed", repairs=True),
    TreatmentRow("semi_oracle", repairs=True),
]


NOISE = 0.2
"""The share of labels that are any class, each as likely."""
noisy = Likelihood(
    lambda outputs: torch.log((1 - NOISE) * outputs.softmax(dim=1) + NOISE / outputs.shape[1]), "a softmax with noise"
)


@dataclass(frozen=True)
class LikelihoodRow:
    """A likelihood, and p(y|x) of a model's outputs from its definition, a column a class."""

    name: str
    likelihood: Likelihood
    by_hand: Callable[[Tensor], Tensor]
    outputs: int = 3
    classes: int = 3

    def __str__(self) -> str:
        return self.name


def _shares(outputs: Tensor) -> Tensor:
    return outputs.exp() / outputs.exp().sum(dim=1, keepdim=True)


LIKELIHOOD_ROWS = [
    LikelihoodRow("softmax", LIKELIHOODS["softmax"], _shares),
    LikelihoodRow("noisy", noisy, lambda outputs: (1 - NOISE) * _shares(outputs) + NOISE / 3),
    LikelihoodRow("bernoulli", bernoulli, lambda z: torch.cat([1 / (1 + z.exp()), 1 / (1 + (-z).exp())], 1), 1, 2),
]
