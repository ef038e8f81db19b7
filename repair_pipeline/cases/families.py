"""The families of presets, as plain values: nothing heavy is imported, so that they can be listed at once.

Every number cites App. C of the paper, or is marked "ours".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

STUDY_SEEDS = range(5)
"""Means and deviations are over 5 runs (Fig. 2, 3)."""

Fields = dict[str, Any]


@dataclass(frozen=True)
class _Study:
    """A data set with the corruptions of the paper."""

    setup: Fields
    """The keys that all cases of the data set share: ``dataset``, and ``model`` and others if not at their defaults."""
    pairs: tuple[tuple[int, int], ...]
    """Pairs of classes whose labels are swapped, in both directions."""
    targets: tuple[int, ...]
    """Classes whose inputs are corrupted (Sec. 4.1)."""
    noise: Fields
    epsilon: float = 0.2
    top: int = 1000
    """Causes removed in Fig. 4."""
    thinned: int = 8
    """The class that imbalance thins out. Ours: the paper has no such experiment."""

    def families(self, name: str) -> dict[str, Fields]:
        """The three corruptions of Sec. 4.1, and imbalance, by name of the family."""
        return {
            f"{name}-label_noise": self.label_noise(rate=0.3),  # rate ours: Fig. 2a is a picture
            f"{name}-input_noise": self._in_targets(self.noise, causes={"top": self.top}),
            f"{name}-poison": self._in_targets({"kind": "poison", "epsilon": self.epsilon}, causes={"top": self.top}),
            f"{name}-imbalance": self._thinned(),
        }

    def label_noise(self, rate: float) -> Fields:
        """Label noise. Ours: as many causes as planted rows, so that methods and references remove equally many."""
        both_ways = sorted([*self.pairs, *((b, a) for a, b in self.pairs)])
        confusion = {clean: {given: 1.0} for clean, given in both_ways}
        return {**self.setup, "corruption": {"rate": rate, "confusion": confusion}, "causes": {"top": "planted"}}

    def _in_targets(self, corruption: Fields, causes: Fields) -> Fields:
        # Sec. 4.1: 30% of the target classes are corrupted, and the failures in these classes are repaired.
        planted = {**corruption, "classes": list(self.targets), "rate": 0.3}
        return {**self.setup, "corruption": planted, "failures": {"classes": list(self.targets)}, "causes": causes}

    def _thinned(self) -> Fields:
        corruption = {"kind": "imbalance", "classes": [self.thinned], "keep": 0.05}
        failures = {"classes": [self.thinned]}
        return {**self.setup, "corruption": corruption, "failures": failures, "causes": {"fraction": 0.15}}


# Ours: Fig. 2a of the paper names 1 and 7; the other pairs are similar in the same way.
_DIGIT_PAIRS = ((1, 7), (6, 9), (3, 8))
_TARGETS = (1, 7, 6, 9)
_PEPPER = {"kind": "input_noise", "noise": "salt_and_pepper", "level": 0.3}  # level ours
_DIGITS = _Study(
    {"dataset": {"name": "digits", "train_size": 1000}}, _DIGIT_PAIRS, _TARGETS, _PEPPER, top=330
)  # ours: MNIST's experiments, in a minute
_MNIST = _Study(
    {"dataset": {"name": "mnist", "train_size": 3000}},  # App. C: 6% of the training split
    _DIGIT_PAIRS,
    targets=_TARGETS,
    noise=_PEPPER,
    epsilon=0.2,  # ours
)
_REPAIRS = ("base", "finetune", "ewc_deletion", "learn_guard", "reseed", "semi_oracle")
# Ours: fine-tuning with batch normalisation frozen, and with its statistics estimated again on the rows left.
_BATCHNORM: Fields = {name: {} for name in _REPAIRS}
_BATCHNORM["finetune"] = [{}, {"batchnorm": "refresh"}]
# Cat and dog are the paper's; car and truck, deer and horse are ours.
_CIFAR10 = _Study(
    {"dataset": {"name": "cifar10", "train_size": 50000}, "model": {"name": "resnet50"}, "treatments": _BATCHNORM},
    ((3, 5), (1, 9), (4, 7)),
    targets=(0, 2, 3, 5),  # plane, bird, cat, dog
    noise={"kind": "input_noise", "noise": "gaussian", "level": 0.2},  # level ours
    epsilon=0.03,  # ours
    top=20000,
    thinned=3,
)
# Ours: small enough for two cores. Not a reproduction.
_CIFAR10_SMALL = replace(
    _CIFAR10,
    setup={
        "dataset": {"name": "cifar10", "train_size": 5000},
        "model": {"name": "cnn8"},
        "compute": {"threads": 2},
        "treatments": _BATCHNORM,
    },
    top=2000,
)


# Ours: as an owner would train.
_FLIPS_AND_SHIFTS: Fields = {
    "epochs": 12,
    "batch_size": 128,
    "optimiser": "adamw",
    "learning_rate": 0.01,
    "weight_decay": 5e-4,
    "schedule": "one_cycle",
    "augment": "repair_pipeline.training.augment:flips_and_shifts",
}


def _instance(dataset: str, train_size: int, model: str, training: Fields, rate: float, annotators: int) -> Fields:
    """Noise like that of human annotators. Ours."""
    return {
        "training": training,
        "dataset": {"name": dataset, "train_size": train_size},
        "model": {"name": model},
        "corruption": {"kind": "instance_noise", "rate": rate, "annotators": annotators},
    }


FAMILIES: Mapping[str, Fields] = {
    **_DIGITS.families("digits"),
    **_MNIST.families("mnist"),
    "mnist-label_noise-hard": _MNIST.label_noise(rate=0.45),  # ours: here the model learns the noise
    **_CIFAR10.families("cifar10"),
    **_CIFAR10_SMALL.families("cifar10-small"),
    "cifar10-instance": _instance("cifar10", 10_000, "cnn_compact", _FLIPS_AND_SHIFTS, rate=0.4, annotators=20),
    "cifar10-instance-mild": _instance("cifar10", 10_000, "cnn_compact", _FLIPS_AND_SHIFTS, rate=0.1, annotators=20),
    "banking77-instance": _instance("banking77", 10_003, "mlp", {"epochs": 20}, rate=0.15, annotators=5),
}
"""The fields of each family. A preset is a family's name, ``-s`` and a seed."""


def preset_names() -> list[str]:
    """The names of all presets with the seeds of the studies."""
    return [f"{family}-s{seed}" for family in FAMILIES for seed in STUDY_SEEDS]
