"""The catalogue of treatments, by name, with the rows that each removes."""

from functools import partial

from repair_pipeline.plugins import Catalogue
from repair_pipeline.problem.causes import CausesRule
from repair_pipeline.problem.cost import FINETUNING, Cost
from repair_pipeline.treatment.auto import Auto
from repair_pipeline.treatment.correct import Correct
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.treatment.learning import L2Query, LearnGuard, LearnQuery, Relabel
from repair_pipeline.treatment.newton import Newton
from repair_pipeline.treatment.potion import Potion
from repair_pipeline.treatment.protocol import Recipe
from repair_pipeline.treatment.sap import SAP
from repair_pipeline.treatment.scrub import Scrub
from repair_pipeline.treatment.selective_dampening import SelectiveDampening
from repair_pipeline.treatment.training import Combined, Finetune, Retrain, Untouched

_BUILTIN = {
    "base": Recipe(Untouched, removes=("nothing",), alone="the model before any repair", alone_as="baseline"),
    "finetune": Recipe(
        Finetune,
        removes=("causes", "nothing"),
        of_rows="fine-tuning without {rows}",
        alone="fine-tuning with nothing removed",
        cost=Cost(epochs=FINETUNING),
        version=2,
    ),
    "ewc_deletion": Recipe(
        EWCDeletion,
        removes=("causes",),
        of_rows="EWC-deletion of {rows}",
        cost=Cost(steps=150, checks=31),
    ),
    "ewc_deletion_paper": Recipe(
        partial(EWCDeletion, objective="likelihood", guard_rho=0.0, stopping="paper"),
        removes=("causes",),
        of_rows="EWC-deletion of {rows}, as the paper describes it",
        cost=Cost(steps=30),
    ),
    "newton": Recipe(Newton, removes=("causes",), of_rows="Newton update removal of {rows}", cost=Cost(products=15)),
    "selective_dampening": Recipe(
        SelectiveDampening,
        removes=("causes",),
        of_rows="selective dampening of {rows}",
        cost=Cost(gradients=0.2),
    ),
    "scrub": Recipe(
        Scrub,
        removes=("causes",),
        of_rows="SCRUB of {rows}",
        needs_classes=True,
        cost=Cost(epochs=15, checks=11),
    ),
    "potion": Recipe(
        Potion,
        removes=("causes",),
        of_rows="outlier-resistant dampening of {rows} (Potion)",
        needs_classes=True,
        cost=Cost(gradients=1, forward=10),
    ),
    "sap": Recipe(
        SAP,
        removes=("nothing",),
        alone="weights projected onto what trusted rows activate (SAP)",
        alone_as="repair",
        cost=Cost(forward=0.5, checks=9),
    ),
    "retrain": Recipe(
        Retrain,
        removes=("causes", "planted"),
        of_rows="retraining without {rows}",
        alone="retraining without the planted rows",
        cost=Cost(trainings=1),
    ),
    "relabel": Recipe(
        Relabel,
        removes=("causes",),
        relabels=True,
        of_rows="fine-tuning with new labels for {rows}",
        cost=Cost(steps=150, forward=1, epochs=FINETUNING),
        version=2,
    ),
    "combined": Recipe(
        Combined,
        removes=("causes", "planted"),
        of_rows="fine-tuning on the failures too, without {rows}",
        alone="fine-tuning on the failures too, without the planted rows",
        cost=Cost(epochs=1.5 * FINETUNING),
        version=2,
    ),
    "correct": Recipe(
        Correct,
        removes=("causes",),
        relabels=True,
        of_rows="training on the failures too, with corrected labels for {rows}",
        causes=CausesRule(harmful=0.1),
        cross_fits=True,
        cost=Cost(trainings=1),
    ),
    "correct_data_only": Recipe(
        partial(Correct, pool="data_only"),
        removes=("causes",),
        relabels=True,
        of_rows="training with corrected labels for {rows}",
        causes=CausesRule(harmful=0.1),
        cross_fits=True,
        cost=Cost(trainings=1),
    ),
    "l2_query": Recipe(
        L2Query,
        removes=("nothing",),
        alone="learning the failures, held to the model by an L2 penalty",
        alone_as="repair",
        cost=Cost(steps=60),
    ),
    "learn_query": Recipe(
        LearnQuery,
        removes=("nothing",),
        alone="learning the failures beside healthy cases",
        alone_as="repair",
        cost=Cost(steps=150),
    ),
    "auto": Recipe(
        Auto,
        removes=("chosen",),
        alone="what was chosen by the failures and healthy cases that may be read",
        alone_as="repair",
        cost=Cost(epochs=4 * FINETUNING, steps=150, checks=31),
    ),
    "learn_guard": Recipe(LearnGuard, removes=("nothing",), alone="learning healthy cases alone", cost=Cost(steps=150)),
    "reseed": Recipe(
        Retrain, removes=("nothing",), alone="retraining on all rows with another seed", cost=Cost(trainings=1)
    ),
    "semi_oracle": Recipe(
        Finetune, removes=("planted",), alone="fine-tuning without the planted rows", cost=Cost(epochs=FINETUNING)
    ),
}
TREATMENTS = Catalogue("treatment", "repair_pipeline.treatments", Recipe, _BUILTIN)
"""In the order of their steps. A plugin package adds treatments by entry points of this group, each naming a
``Recipe``."""
register_treatment = TREATMENTS.register
