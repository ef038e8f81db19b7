"""Repair trained neural networks by forgetting the training examples that caused their failures."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repair_pipeline import influence, training, treatment
    from repair_pipeline.datasets.known import register_dataset
    from repair_pipeline.influence.methods import register_influence
    from repair_pipeline.library.judging import Verdict, judge
    from repair_pipeline.library.problem import RepairProblem
    from repair_pipeline.library.repairing import Repair, repair
    from repair_pipeline.library.scoring import Scores, attribute
    from repair_pipeline.likelihoods.likelihoods import register_likelihood
    from repair_pipeline.treatment.treatments import register_treatment
    from repair_pipeline.types import Causes

__all__ = [
    "Causes",
    "Repair",
    "RepairProblem",
    "Scores",
    "Verdict",
    "attribute",
    "influence",
    "judge",
    "register_dataset",
    "register_influence",
    "register_likelihood",
    "register_treatment",
    "repair",
    "training",
    "treatment",
]

_SUBMODULES = ("influence", "training", "treatment")
"""Their classes are methods, treatments and training schemes with settings: ``rp.influence.EWC(gamma=0.001)``."""
_MODULES = {
    "Causes": "types",
    "Repair": "library.repairing",
    "RepairProblem": "library.problem",
    "Scores": "library.scoring",
    "Verdict": "library.judging",
    "attribute": "library.scoring",
    "judge": "library.judging",
    "register_dataset": "datasets.known",
    "register_influence": "influence.methods",
    "register_likelihood": "likelihoods.likelihoods",
    "register_treatment": "treatment.treatments",
    "repair": "library.repairing",
}
"""Where each name is defined. It is imported when it is first asked for, as the commands import the package too."""


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return import_module(f"{__name__}.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
