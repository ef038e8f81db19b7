"""What a method or treatment computes: the basis of the time that ``repair check`` predicts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Cost:
    """The passes of a catalogue entry with its default settings. A pass reads each of the N rows of D once."""

    epochs: float = 0.0
    """Training epochs over D."""
    trainings: float = 0.0
    """Trainings from scratch, such as the base model's."""
    steps: float = 0.0
    """Optimiser steps on the failures and the guard, 128 rows each."""
    checks: float = 0.0
    """Evaluations on the watched guard and query_tuning while a path is optimised."""
    forward: float = 0.0
    """Forward passes."""
    gradients: float = 0.0
    """Passes of per-sample gradients."""
    products: float = 0.0
    """Products of the curvature with a vector, a pass each."""


FINETUNING = 20.0
"""Epochs of a fine-tuning until it stops early: 6 to 100 in ``docs/examples``, on average 37, 26 and 15 by case."""
TRAINING = 45.0
"""Epochs of a training from scratch until it stops early: 26 to 85 in ``docs/examples``."""
