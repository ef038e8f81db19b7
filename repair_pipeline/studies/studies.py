"""Every study by name."""

from collections.abc import Mapping

from repair_pipeline.studies.counterfactual import Counterfactual
from repair_pipeline.studies.few_failures import FewFailures
from repair_pipeline.studies.methods import Methods
from repair_pipeline.studies.study import Study

STUDIES: Mapping[str, Study] = {study.name: study for study in (Methods(), FewFailures(), Counterfactual())}
