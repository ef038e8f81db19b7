"""How long a case will take: the passes of its steps, at the speed that its model has on this machine."""

from __future__ import annotations

import time
import timeit
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import nn

from repair_pipeline.cases.grid import variants
from repair_pipeline.cases.sources import TrainingSpec
from repair_pipeline.continual.curvature import empirical_fisher
from repair_pipeline.continual.ewc import EWC
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.continual.maximise import OneCycle
from repair_pipeline.continual.posterior import Factor, laplace
from repair_pipeline.evaluation.selection import selected
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.influence.pairs import gradients_needed
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import grid, repairs
from repair_pipeline.pipeline.patch import PAIRED
from repair_pipeline.problem.cost import FINETUNING, TRAINING, Cost
from repair_pipeline.problem.cross_fit import FOLDS
from repair_pipeline.training.fit import Schedule, logits
from repair_pipeline.training.function import UserTraining
from repair_pipeline.training.protocol import Training
from repair_pipeline.training.recipe import Recipe, UserRecipe
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import CorruptedDataset, Examples, FailureGroup

_SAMPLE = 256
"""The number of rows that speed is measured on."""
_OVERHEAD = 20.0
"""Seconds for starting, figures, report and MLflow's record, whatever the case."""


@dataclass(frozen=True)
class Epochs:
    """How many epochs fine-tunings and trainings from scratch take."""

    finetuning: float
    training: float

    @staticmethod
    def of(training: TrainingSpec) -> Epochs:
        """Those of the owner's recipe, or else the assumed ones."""
        match training:
            case UserRecipe():
                return Epochs(training.epochs, training.epochs)
            case Schedule():
                return Epochs(FINETUNING, min(training.max_epochs, TRAINING))
            case UserTraining():
                return Epochs(FINETUNING, TRAINING)


@dataclass(frozen=True)
class Speed:
    """Seconds per row."""

    read: float
    """Reading an input and transforming it."""
    epoch: float
    """A row of a training epoch."""
    step: float
    """A row of a step on failures and guard."""
    forward: float
    gradient: float
    product: float

    def seconds(self, cost: Cost, rows: int, checked: int, epochs: Epochs) -> float:
        """The seconds of one entry's run.

        Args:
            cost: what it computes.
            rows: N.
            checked: rows of the watched guard and query_tuning.
            epochs: the assumed lengths of a fine-tuning and of a training from scratch.
        """
        epochs_of_all = cost.epochs * epochs.finetuning / FINETUNING + cost.trainings * epochs.training
        passes = epochs_of_all * self.epoch + cost.forward * self.forward
        passes += cost.gradients * self.gradient + cost.products * self.product
        return rows * passes + cost.steps * OneCycle.batch_size * self.step + cost.checks * checked * self.forward


def measured(model: nn.Module, training: Training, fit_rows: Examples, products: bool) -> Speed:
    """The speed of the library's own passes on a sample of rows.

    Args:
        model: of the case.
        training: how the case trains. A function of the owner's is not tried: App. C's scheme is measured instead.
        fit_rows: D.
        products: whether the speed of curvature products is needed.
    """
    started = time.perf_counter()
    rows = fit_rows[:_SAMPLE].in_memory()
    read = time.perf_counter() - started
    classifier, generator = Classifier(model), torch.Generator().manual_seed(0)
    theta = classifier.theta_hat
    rows = rows.to(theta.device)
    some = rows[:32]
    flat, learner = laplace(theta, torch.ones_like(theta), 1.0), EWC(OneCycle(generator, steps=3), precision="frozen")
    curvature = empirical_fisher(classifier, theta, rows)
    learnt_rows = 3 * min(OneCycle.batch_size, len(rows))

    two: Training = Schedule(max_epochs=2)
    if isinstance(training, Recipe):
        two = replace(training, fields=replace(training.fields, epochs=2))

    def epoch() -> None:
        two.fit(model, rows, some, generator, start="trained")

    return Speed(
        read=read / len(rows),
        epoch=_seconds(epoch) / (2 * len(rows)),
        step=_seconds(lambda: learner.update(flat, [Factor(rows, 1)], classifier)) / learnt_rows,
        forward=_seconds(lambda: logits(model, rows)) / len(rows),
        gradient=_seconds(lambda: classifier.gradients(theta, some)) / len(some),
        product=_seconds(lambda: curvature.product(theta.double())) / len(rows) if products else 0.0,
    )


def expected_seconds(
    case: Case, data: CorruptedDataset, model: nn.Module, failures: Mapping[FailureGroup, int], trains: bool
) -> dict[str, float]:
    """The expected seconds of each step that computes with the model, and of the rest.

    Args:
        case: the case.
        data: its data.
        model: the base model, or an untrained one of its architecture.
        failures: the number of query failures of each failure group.
        trains: whether the base model is trained.
    """
    spec, fit_rows, test = case.spec, data.fit.examples, len(data.test)
    influence = {name: METHODS[name].cost for name in spec.influence}
    treatments = {name: TREATMENTS[name].cost for name in spec.treatments}
    products = any(cost.products for cost in (*influence.values(), *treatments.values()))
    speed, n, groups = measured(model, case.training, fit_rows, products), len(fit_rows), len(failures)
    # Watched are at most 1,000 rows and a quarter of what the model gets right.
    checked, epochs = min(1000, test // 4), Epochs.of(spec.training)

    def seconds(cost: Cost) -> float:
        return groups * speed.seconds(cost, n, checked, epochs)

    every = n + len(data.validation.examples) + test
    expected = {
        "corrupted_dataset": every * speed.read,
        "base_model": seconds(Cost(trainings=1)) / groups if trains else 0.0,
        "failure_partition": test * speed.forward,
        "fisher_diagonal": n * (speed.gradient + speed.forward),
    }
    if spec.cross_fits:
        expected["cross_fit"] = seconds(Cost(trainings=FOLDS))
    for name, cost in influence.items():
        runs = FOLDS if name in spec.calibrated and not METHODS[name].calibrates else 1
        expected[f"influence_{name}"] = runs * seconds(cost)
    for name, cost in treatments.items():
        expected[f"repaired_{name}"] = len(variants(spec, name)) * seconds(cost)
    models = len(grid(case))
    if spec.gate:
        theta = torch.empty(sum(p.numel() for p in model.parameters() if p.requires_grad), device="meta")
        needed = (min(gradients_needed(theta, each, min(PAIRED, n)), n + each) for each in failures.values())
        expected["pairs"] = sum(needed) * speed.gradient
        # As many repairs and controls; the judged model is most often one of them.
        others = 2 * spec.gate.controls - 1
        expected["gate_controls"] = others * seconds(_judged(case))
        expected["doubtful_tests"] = groups * (others + 2) * test * speed.forward
        models += others
    if spec.patch:
        data_sets = 3 if spec.plants else 2
        expected["patch_verdict"] = data_sets * spec.patch.trainings * seconds(Cost(trainings=1)) / groups
    expected["evaluation"] = groups * models * test * speed.forward
    expected["rest"] = _OVERHEAD
    return expected


def _judged(case: Case) -> Cost:
    """The cost of the treatment that the gate judges; that of a search is most often a fine-tuning."""
    tried = [*variants(case.spec, "auto"), *repairs(case.first_view)]
    judged = selected(tried, lambda variant: variant.treatment, lambda variant: True)
    if judged is None:
        return Cost()
    return TREATMENTS["finetune" if judged.removes == "chosen" else judged.treatment].cost


def _seconds(work: Callable[[], object]) -> float:
    first = timeit.timeit(work, number=1)  # it pays for what is set up once
    # The least of several, as other processes only add to it; what is slow is steady.
    return min(timeit.repeat(work, number=1, repeat=1 if first > 1 else 3))
