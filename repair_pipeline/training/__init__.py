"""Training a classifier. One class per scheme; its arguments are settings."""

from repair_pipeline.training.fit import Schedule
from repair_pipeline.training.recipe import UserRecipe

__all__ = ["Schedule", "UserRecipe"]
