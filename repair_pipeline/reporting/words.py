"""Plain words for the names in the tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from repair_pipeline.reporting.evidence import Row

Kind = Literal["before", "repair", "control", "reference"]
KINDS: dict[Kind, str] = {
    "before": "Before repair",
    "repair": "Repairs",
    "control": "Controls",
    "reference": "Reference",
}
"""In the order in which they are shown."""

METHODS = {
    "ewc": "EWC-influence: the model learns the failures beside healthy cases; rows that turn unlikely rank first",
    "ewc_difference": "EWC-influence as the paper reads it: rows that turn less likely than they were rank first",
    "ewc_kfac": "EWC-influence with a K-FAC posterior instead of a diagonal one",
    "ewc_paper": "EWC-influence with the paper's stopping rule and no healthy cases",
    "vcl": "variational continual learning: EWC-influence with Gaussians for both posteriors",
    "functional": "EWC-influence that holds the model's answers on the training rows instead of its parameters",
    "linear_gd": "linear influence: one natural-gradient step on the failures, its linear system solved by descent",
    "linear_sa": "linear influence, its linear system solved by stochastic approximation",
    "sgd": "SGD-influence: what the failures would gain if a row were left out of further training",
    "self_influence": "self-influence: rows with the largest gradients rank first",
    "loss": "training loss: rows that the model finds unlikely rank first",
    "margin": "logit margin: rows whose given label loses to another by most rank first",
    "finetune_loss": "loss of the model fine-tuned on the failures and the healthy cases, with nothing else to hold it",
    "clean_reference": "loss of a new model trained on the failures and the healthy cases alone",
    "confident_learning": "confident learning (cleanlab): rows unlikely to models trained without them rank first",
    "trak": "TRAK (traker): rows whose projected gradients oppose the failures'",
    "ekfac": "influence functions with an EK-FAC Fisher (kronfluence): rows whose gradients oppose the failures'",
    "random": "any order, as good as chance",
    "oracle": "planted rows first, by construction",
}

_WITHOUT_CAUSES = {
    "base": "the model before any repair",
    "finetune": "fine-tuning with nothing removed",
    "reseed": "retraining on all rows with another seed",
    "semi_oracle": "fine-tuning without the planted rows",
    "combined": "fine-tuning on the failures too, without the planted rows",
    "l2_query": "learning the failures, held to the model by an L2 penalty",
    "learn_guard": "learning healthy cases alone",
    "learn_query": "learning the failures beside healthy cases",
    "auto": "what was chosen by the failures and healthy cases that may be read",
}

_WITHOUT_REPAIR = ("finetune", "reseed", "learn_guard")
_WITHOUT_PLANTED = ("semi_oracle", "combined")

_OF_CAUSES = {
    "finetune": "fine-tuning without {rows}",
    "ewc_deletion": "EWC-deletion of {rows}",
    "ewc_deletion_paper": "EWC-deletion of {rows}, as the paper describes it",
    "newton": "Newton update removal of {rows}",
    "selective_dampening": "selective dampening of {rows}",
    "scrub": "SCRUB of {rows}",
    "retrain": "retraining without {rows}",
    "relabel": "fine-tuning with new labels for {rows}",
    "combined": "fine-tuning on the failures too, without {rows}",
}


def kind(row: Row) -> Kind:
    """What a row of the recovery table is there for."""
    treatment, method = row["treatment"], row["influence_method"]
    if treatment == "base":
        return "before"
    if method == "oracle" or (method is None and treatment in _WITHOUT_PLANTED):
        return "reference"
    return "control" if method == "random" or (method is None and treatment in _WITHOUT_REPAIR) else "repair"


def by_kind(rows: Iterable[Row]) -> list[Row]:
    """Before, repairs, controls, references; else in the order given."""
    return sorted(rows, key=lambda row: list(KINDS).index(kind(row)))


def short_name(row: Row) -> str:
    """A row of the recovery table by the names that SQL knows."""
    treatment, method = row["treatment"], row["influence_method"]
    removed = {"before": None, "control": "nothing", "reference": "planted", "repair": None}[kind(row)]
    name = f"{method or removed} → {treatment}" if method or (removed and treatment in _OF_CAUSES) else treatment
    settings = json.loads(row["setting"])
    return ", ".join([name, *(f"{key}={_shown(value)}" for key, value in settings.items())])


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def in_words(row: Row) -> str:
    """A row of the recovery table, said."""
    treatment, method = row["treatment"], row["influence_method"]
    if method is None:
        return _WITHOUT_CAUSES.get(treatment, str(treatment))
    rows = f"{row['removed']} random rows" if method == "random" else f"the {row['removed']} causes found by {method}"
    return _OF_CAUSES.get(treatment, f"{treatment} of {{rows}}").format(rows=rows)


def plain(verdict: str) -> str:
    """A verdict's name, said."""
    return verdict.replace("_", " ")


def percent(share: float) -> str:
    """A share of one, with one decimal."""
    return f"{share:.1%}"


def shortened(name: str, longest: int) -> str:
    """A class name that fits into a picture."""
    return name if len(name) <= longest else f"{name[: longest - 1]}…"


def signed(value: float) -> str:
    """With two decimals, and a minus as wide as a plus."""
    return f"{round(value, 2) + 0.0:+.2f}".replace("-", "−")  # no −0.00


def count(share: float, total: int) -> int:
    """How many of ``total`` an accuracy over them stands for."""
    return round(share * total)
