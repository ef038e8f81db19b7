"""The studies, by name."""

from collections.abc import Mapping, Sequence

from repair_pipeline.errors import InputError
from repair_pipeline.studies.attribution.study import Attribution
from repair_pipeline.studies.counterfactual import Counterfactual
from repair_pipeline.studies.few_failures import FewFailures
from repair_pipeline.studies.gate import GateStudy
from repair_pipeline.studies.gate_simulation import GateSimulation
from repair_pipeline.studies.methods import Methods
from repair_pipeline.studies.paper.study import Paper
from repair_pipeline.studies.real_data import RealData
from repair_pipeline.studies.study import Study

STUDIES: Mapping[str, Study] = {
    study.name: study
    for study in (
        Methods(),
        FewFailures(),
        Counterfactual(),
        Attribution(),
        GateStudy(),
        GateSimulation(),
        RealData(),
        Paper("paper", "mnist"),
    )
}


def find_study(name: str, only: Sequence[str] = ()) -> Study:
    """A study, restricted to the parts in ``only`` if there are any.

    Raises:
        InputError: there is no such study, or it has no such part.
    """
    if name not in STUDIES:
        raise InputError(f"there is no study {name!r}: choose among {', '.join(STUDIES)}")
    study = STUDIES[name]
    if not only:
        return study
    if not isinstance(study, Paper):
        raise InputError(f"the study {name!r} has no parts: leave out --only {only[0]}")
    return study.only(only)
