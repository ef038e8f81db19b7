"""Step II: erasing the causes from the model. One class per treatment; its arguments are settings."""

from repair_pipeline.treatment.correct import Correct
from repair_pipeline.treatment.ewc_deletion import EWCDeletion
from repair_pipeline.treatment.learning import L2Query, LearnGuard, LearnQuery, Relabel
from repair_pipeline.treatment.newton import Newton
from repair_pipeline.treatment.potion import Potion
from repair_pipeline.treatment.sap import SAP
from repair_pipeline.treatment.scrub import Scrub
from repair_pipeline.treatment.selective_dampening import SelectiveDampening
from repair_pipeline.treatment.training import Combined, Finetune, Retrain, Untouched

__all__ = [
    "SAP",
    "Combined",
    "Correct",
    "EWCDeletion",
    "Finetune",
    "L2Query",
    "LearnGuard",
    "LearnQuery",
    "Newton",
    "Potion",
    "Relabel",
    "Retrain",
    "Scrub",
    "SelectiveDampening",
    "Untouched",
]
