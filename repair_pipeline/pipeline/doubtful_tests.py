"""Test rows that are weak evidence: near duplicates of training rows, and rows whose label is probably wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, nn

from repair_pipeline.datasets.labels import texts
from repair_pipeline.evaluation.doubtful_labels import SURE, doubtful_labels
from repair_pipeline.evaluation.near_duplicates import near_duplicates
from repair_pipeline.likelihoods.softmax import likelihood_of
from repair_pipeline.pipeline.case import Case, GroupView
from repair_pipeline.pipeline.file import File
from repair_pipeline.pipeline.gate import compared, repair, selected_variant
from repair_pipeline.problem.cross_fit import clean_rows
from repair_pipeline.storage.files import read_parquet, read_tensors
from repair_pipeline.storage.records import save_rows
from repair_pipeline.storage.stopwatch import Stopwatch
from repair_pipeline.training.fit import logits
from repair_pipeline.types import Examples, LabelForm, Progress, silent


def doubtful(case: Case, cross_fit: Iterable[File]) -> list[File]:
    """The table ``doubtful_tests`` of a case with a gate.

    Args:
        case: the case.
        cross_fit: the files of that step.
    """
    models = list[Path]()
    for view in case.views:
        variant = selected_variant(view)
        models += [] if variant is None else [view.model_path(variant)]
        models += [file.path for file in compared(view)]
    predicted = [path for file in cross_fit for path in file.paths]
    return [
        File(
            case.layout.table("doubtful_tests", case.id),
            (case.base_model_path, case.partition_path),
            partial(_write, case),
            optional=(*models, *predicted),
        )
    ]


def _write(case: Case, path: Path, progress: Progress) -> None:
    """Write ``doubtful_tests``; doubtful labels are sought among classes only.

    It reads the holdout, and is read by what judges and tells, never by what repairs.
    """
    watch = Stopwatch(case.device)
    examples = read_parquet(case.partition_path)[0]
    split_of = dict(zip(examples["example_id"].to_pylist(), examples["split"].to_pylist(), strict=True))
    right = frozenset(name for name, split in split_of.items() if split in ("guard", "remaining"))
    label_of = dict(zip(case.data.test.ids.tolist(), texts(case.data.test.labels, case.data.classes), strict=True))
    rows: list[dict[str, Any]] = [*_near(case, progress)]
    if case.likelihood.form is LabelForm.CLASS:
        rows += [row for view in case.views for row in _doubted(view)]
    for row in rows:
        name = row["example_id"]
        row |= {"split": split_of[name], "failed": name not in right, "label": label_of[name]}
    save_rows(path, "doubtful_tests", rows, watch.notes())


def _near(case: Case, progress: Progress) -> Iterator[dict[str, Any]]:
    seen = Examples.concat([case.data.fit.examples, case.data.validation.examples])
    for found in near_duplicates(seen, case.data.test, progress):
        row = {"example_id": found.test_id, "training_row": found.train_id, "closeness": found.closeness}
        yield {**row, "reason": "near_duplicate"}


def _doubted(view: GroupView) -> Iterator[dict[str, Any]]:
    """The group's failures whose label is probably wrong, the surest first.

    A row of holdout or remaining is judged by all models: the base model, those of the cross-fit, the repairs and their
    controls. A row can thus be doubtful only if the repair and every control get it wrong alike, so leaving it out
    favours none of them. Other rows are judged by the base model and the cross-fit only, as repairs may be trained on
    them; without a cross-fit they are not, as the base model alone may have learnt a mistake from its data.
    """
    test, tests = view.data.test, view.partition
    unseen = test.having(_ids(tests.holdout, tests.remaining))
    general, judged_rows = [log_p(view.model(view.base_model_path), test)], unseen.clone()
    if view.cross_predicted_path.exists():
        general.append(_cross_predicted(view))
        judged_rows |= test.having(_ids(tests.query, tests.query_tuning, tests.unused_query))
    probability, label = doubtful_labels(general, test.labels)
    judged = [log_p(view.model(path), test[unseen]) for path in _judged_models(view)]
    panel = [log[unseen] for log in general] + judged
    probability[unseen], label[unseen] = doubtful_labels(panel, test.labels[unseen])
    found = torch.nonzero(judged_rows & (probability >= SURE)).flatten().tolist()
    for at in sorted(found, key=lambda at: (-probability[at].item(), str(test.ids[at]))):
        yield {
            "example_id": str(test.ids[at]),
            "reason": "doubtful_label",
            "likelier_label": view.data.classes[label[at]],
            "probability": probability[at].item(),
        }


def _ids(*parts: Examples) -> frozenset[str]:
    return frozenset(name for part in parts for name in part.ids.tolist())


def _cross_predicted(view: GroupView) -> Float64[Tensor, "n k"]:
    """log p(y|x) of the test rows by the cross-fit's models: of each row, by those that were not trained on it."""
    tensors, _ = read_tensors(view.cross_predicted_path)
    predicted = tensors["log_p"]
    position = {name: at for at, name in enumerate(view.data.test.ids.tolist())}
    at = torch.tensor([position[name] for name in clean_rows(view.task("cross_fit", silent)).ids.tolist()])
    tiny = torch.finfo(torch.float64).tiny
    predicted[at] = view.out_of_fold().clean.clamp_min(tiny).log()
    return predicted


def _judged_models(view: GroupView) -> list[Path]:
    """The repair, its other seeds and its controls, as far as they are there."""
    repaired = repair(view)
    paths = [view.model_path(repaired.variant), *(file.path for file in compared(view))] if repaired else []
    return [path for path in paths if path.exists()]


def log_p(model: nn.Module, rows: Examples) -> Float64[Tensor, "n *k"]:
    """log p(y|x) of every class; of another task what it keeps of a prediction."""
    outputs, likelihood = logits(model, rows), likelihood_of(model)
    if likelihood.form is LabelForm.CLASS:
        return outputs.double().log_softmax(dim=1)
    return likelihood.predicted(outputs, rows.labels.cpu())
