"""Every treatment by name, and what it is asked to remove."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.treatment.learning import L2Query, LearnGuard, LearnQuery, Relabel
from repair_pipeline.treatment.newton import Newton
from repair_pipeline.treatment.protocol import Treatment
from repair_pipeline.treatment.scrub import Scrub
from repair_pipeline.treatment.selective_dampening import SelectiveDampening
from repair_pipeline.treatment.training import Combined, Finetune, Retrain, Untouched

Removes = Literal["nothing", "planted", "causes", "chosen"]


@dataclass(frozen=True)
class Recipe:
    """A treatment and the rows it is run without.

    ``nothing`` and ``planted`` are one run a case; ``causes`` is one run for every influence method that is treated;
    ``chosen`` is what the treatment itself makes of several methods' scores.
    """

    treatment: Callable[..., Treatment | Auto]
    removes: tuple[Removes, ...]
    opposes: bool = False
    """It moves away from the given labels of what it removes, so that it calls every such row something else."""


TREATMENTS: Mapping[str, Recipe] = {
    "base": Recipe(Untouched, removes=("nothing",)),
    "finetune": Recipe(Finetune, removes=("causes", "nothing")),
    "ewc_deletion": Recipe(EWCDeletion, removes=("causes",), opposes=True),
    "ewc_deletion_paper": Recipe(
        partial(EWCDeletion, objective="likelihood", guard_rho=0.0, stopping="paper"), removes=("causes",), opposes=True
    ),
    "newton": Recipe(Newton, removes=("causes",), opposes=True),
    "selective_dampening": Recipe(SelectiveDampening, removes=("causes",), opposes=True),
    "scrub": Recipe(Scrub, removes=("causes",), opposes=True),
    "retrain": Recipe(Retrain, removes=("causes", "planted")),
    "relabel": Recipe(Relabel, removes=("causes",)),
    "combined": Recipe(Combined, removes=("causes", "planted")),
    "l2_query": Recipe(L2Query, removes=("nothing",)),
    "learn_query": Recipe(LearnQuery, removes=("nothing",)),
    "auto": Recipe(Auto, removes=("chosen",)),
    "learn_guard": Recipe(LearnGuard, removes=("nothing",)),
    "reseed": Recipe(Retrain, removes=("nothing",)),
    "semi_oracle": Recipe(Finetune, removes=("planted",)),
}
