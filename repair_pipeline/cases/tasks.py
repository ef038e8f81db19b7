"""What a case cannot have where a label is not one class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repair_pipeline.cases.sources import FailuresOfClasses
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.treatment.treatments import TREATMENTS
from repair_pipeline.types import LabelForm

if TYPE_CHECKING:
    from repair_pipeline.cases.spec import CaseSpec


def require_fit(spec: CaseSpec) -> None:
    """Refuse what needs one class a row where a label is something else: corruptions, some methods and treatments.

    Raises:
        ValueError: names the first.
    """
    if spec.task.form is LabelForm.CLASS:
        return
    name = next(iter(spec.likelihood)) if isinstance(spec.likelihood, dict) else spec.likelihood
    reads = f"but the likelihood {name} has none"
    if spec.task.form is LabelForm.SET:
        reads = f"one for each row, but the likelihood {name} has sets"
    if spec.task.form is LabelForm.TAGS:
        reads = f"one for each row, but the likelihood {name} has one for each token"
    if not isinstance(spec.dataset, UserData):
        raise ValueError(f"the labels of {spec.data_name} are classes, {reads}: give tables of your own in dataset")
    if spec.task.form is LabelForm.COMPLETION and not spec.dataset.tokenizer:
        raise ValueError(
            f"the likelihood {name} reads prompts and completions: set dataset.text to the column of prompts, "
            "dataset.label to that of completions, and dataset.tokenizer"
        )
    if spec.dataset.classes and spec.task.form not in (LabelForm.SET, LabelForm.TAGS):
        raise ValueError(f"dataset.classes names classes, {reads}: leave it out")
    if spec.corruption is not None:
        raise ValueError(f"corruption needs classes, {reads}: leave it out")
    if isinstance(spec.failures, FailuresOfClasses):
        raise ValueError(f"failures.classes needs classes, {reads}: give failures.where, such as label > 200")
    for key, catalogue, named in (("influence", METHODS, spec.influence), ("treatments", TREATMENTS, spec.treatments)):
        if needing := [entry for entry in named if catalogue[entry].needs_classes]:
            raise ValueError(f"{key}.{needing[0]} needs classes, {reads}: leave it out")
    if spec.task.form.corrects:
        return
    suggesting = ["influence.cross_fit"] if "cross_fit" in spec.influence else []
    for entry in spec.treatments:
        suggesting += [f"treatments.{entry}"] if TREATMENTS[entry].relabels else []
    if suggesting:
        raise ValueError(
            f"{suggesting[0]} asks models for another label of a row, which the likelihood {name} does not have, as it "
            "only drops rows: leave it out"
        )
