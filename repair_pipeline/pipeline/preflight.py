"""Checks of a case before a long run. Nothing is written."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

import pyarrow as pa
import torch
from torch import nn

from repair_pipeline.cases.build import build_corruption, build_model
from repair_pipeline.cases.sources import KnownData
from repair_pipeline.cases.spec import CaseSpec
from repair_pipeline.compute.device import threads
from repair_pipeline.compute.streams import numpy_stream, torch_stream
from repair_pipeline.continual.fisher import gradients_at_once, squared_gradients
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.datasets.known import DATASETS
from repair_pipeline.datasets.labels import members, shown
from repair_pipeline.datasets.prepared import kind, size
from repair_pipeline.datasets.user_data import UserData
from repair_pipeline.evaluation.gate import FEWEST_ROWS, expected_detectable
from repair_pipeline.evaluation.margins import breakable, provable_loss, rows_to_prove
from repair_pipeline.evaluation.near_duplicates import near_duplicates
from repair_pipeline.likelihoods.number import Number
from repair_pipeline.likelihoods.reading import reading_of
from repair_pipeline.models.user_model import freeze, load_weights
from repair_pipeline.named_tensors import NamedTensors, tensors_of
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.cost import expected_seconds
from repair_pipeline.pipeline.failures import failure_parts
from repair_pipeline.pipeline.ledger import announced_reuse
from repair_pipeline.pipeline.standing import applied_patch_of_another, require_runnable
from repair_pipeline.pipeline.trials import auxiliary_outputs, fails_in_train_mode, mixes_rows, squashed, unsupported
from repair_pipeline.pipeline.weights import read_file, weights_path
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.reporting.descriptions import MEASURES
from repair_pipeline.reporting.slices import about, query_side, slices
from repair_pipeline.tracking.weights_only import not_exported
from repair_pipeline.training.fit import logits, measured, predictions, right
from repair_pipeline.training.function import TrainingFunction
from repair_pipeline.training.recipe import Recipe
from repair_pipeline.types import PADDING, CorruptedDataset, Examples, FailureGroup, LabelForm, TestPartition

_ASSUMED_WRONG = 0.05
"""The query failures assumed before the model is trained, as a share of the test rows."""

_FEW_VALUES = 5
"""Different labels up to which a regression may be meant as a classification."""

_PAIRS = 10**8
"""Pairs of a training and a test row that are searched for near duplicates: some seconds."""

_OTHER_BOUNDS = (0.03, 0.05, 0.1, 0.2)
"""Bounds that are suggested where the remaining rows cannot prove the gate's."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    name: str
    says: str
    fine: bool = True
    """False: the run would fail here, or its result would be weaker than it looks."""


def preflight(case: Case) -> Iterator[Finding]:
    """Check data, labels, model, failures, memory and time, in this order.

    Raises:
        InputError: the case cannot be run at all.
    """
    require_runnable(case)
    if warning := applied_patch_of_another(case):
        yield Finding("patch", warning, fine=False)
    with threads(case.spec.compute.threads):
        spec = case.spec
        dataset = case.source_dataset(numpy_stream(spec.seed, "dataset"))
        corruption = build_corruption(spec, len(dataset.classes), case.device)
        data = corrupt(dataset, corruption, spec.validation_fraction, numpy_stream(spec.seed, "corruption"))
        named = isinstance(spec.dataset, UserData) and spec.dataset.id is not None
        if isinstance(spec.dataset, KnownData):
            yield Finding("data", DATASETS[spec.dataset.name].line)
        if spec.likelihood:
            yield Finding("likelihood", spec.task.line)
        for remark in dataset.remarks:
            yield Finding("data", remark.says, remark.fine)
        yield from _data(data, named)
        generator = torch_stream(spec.seed, "base_model")
        model = build_model(spec, data.fit.examples, len(data.classes), case.device, generator)
        require_fitting(model, data.fit.examples, data.classes, data.features, adapted=spec.parameters or "all")
        weights = weights_path(case.spec, case.layout)
        if weights:
            load_weights(model, read_file(weights), str(weights))
        model = freeze(model, spec.parameters or "all").eval()
        if weights and isinstance(spec.task, Number) and spec.task.sigma is None:
            rows = data.validation.examples
            sigma = spec.task.fitted(logits(model, rows), rows.labels).sigma
            yield Finding("sigma", f"{sigma:.3g}, estimated from the median error on {len(rows)} validation rows")
        yield from (Finding(f"model: {subject}", says) for subject, says in reading_of(model).lines)
        yield from _model(spec, model, data.fit.examples[:8], trains=weights is None)
        yield from _training(case, model, data.fit.examples[:8])
        if weights:
            failures = yield from _failures(case, data, model)
        else:
            yield Finding("failures", "known when the base model is trained: the case gives no weights")
            fresh = len(data.test) - len(data.also_in_training)
            yield from _provable(
                case, _ASSUMED_WRONG, fresh - fresh // 2, "at most "
            )  # it is half of what the model gets right
            failures = dict.fromkeys(case.groups, round(_ASSUMED_WRONG * len(data.test)))
        yield _memory(data, model)
        yield _time(expected_seconds(case, data, model, failures, trains=weights is None))


def _data(data: CorruptedDataset, named: bool) -> Iterator[Finding]:
    fit = data.fit.examples
    shape = _shape(fit)
    shape += f" ({shown(data.features, 4)})" if data.features else ""
    counted = f"{len(fit)} fit, {len(data.validation.examples)} validation, {len(data.test)} test"
    yield Finding("rows", f"{counted}, each {shape}")
    known = data.metadata.schema if data.metadata is not None else ()
    flags = [field.name for field in known if pa.types.is_boolean(field.type)]
    if data.features and flags:
        yield Finding("features", f"truth values are none unless dataset.features names them: {shown(flags, 4)}")
    yield from _labels(data)
    parts = (fit, data.validation.examples, data.test)  # all of them: an image may fail only where it is decoded
    finite = all(
        bool(tensor.isfinite().all())
        for part in parts
        for batch in part.batches(500)
        for tensor in tensors_of(batch.inputs).values()
    )
    yield Finding("inputs", "finite" if finite else "not finite: mend dataset.transform", finite)
    # Ids that are hashes count a repeated input's occurrences; the owner's own names say nothing of it.
    again = 0 if named else sum(not example_id.endswith("-0") for example_id in fit.ids.tolist())
    if again:
        yield Finding("duplicates", f"{again} training rows repeat another's input; each is scored")
    if data.also_in_training:
        says = f"{len(data.also_in_training)} test rows are training rows too: kept out of holdout and remaining"
        yield Finding("overlap", says, fine=False)
    yield from _near_duplicates(data)


def _shape(rows: Examples) -> str:
    """The shape of a row, and of each tensor if it has several."""
    inputs = rows[:1].inputs
    if isinstance(inputs, NamedTensors):
        return ", ".join(f"{name} {size(part.shape)} {kind(part.dtype)}" for name, part in inputs.parts.items())
    return "×".join(map(str, rows.shape)) + (" features" if len(rows.shape) == 1 else "")


def _labels(data: CorruptedDataset) -> Iterator[Finding]:
    labels = data.fit.examples.labels
    form = LabelForm.of(labels)
    if form in (LabelForm.COMPLETION, LabelForm.TAGS):
        tokens = (labels != PADDING).sum(dim=1)
        longest = f"up to {int(tokens.max())} tokens, on average {tokens.double().mean().item():.1f}"
    if form is LabelForm.TAGS:
        yield Finding("labels", f"a class for each of {longest}")
    if form is LabelForm.COMPLETION:
        yield Finding("labels", f"completions of {longest}, out of {len(data.classes)}")
        return
    yield from _classes(data) if data.classes else _numbers(data)


def _classes(data: CorruptedDataset) -> Iterator[Finding]:
    fit, test = (
        {name: int(mask.sum()) for name, mask in members(rows.labels, data.classes).items()}
        for rows in (data.fit.examples, data.test)
    )
    classes = ", ".join(f"{at} = {shown([name])} ({fit[name]})" for at, name in enumerate(data.classes[:12]))
    rest = f" and {len(data.classes) - 12} more" if len(data.classes) > 12 else ""
    yield Finding("labels", f"output = class (fit rows): {classes}{rest}")
    absent = [name for name, count in fit.items() if not count]
    if absent:
        yield Finding("labels", f"no fit row is of {shown(absent)}: give some, or leave the class out", fine=False)
    if untested := [name for name, count in test.items() if not count]:
        yield Finding("labels", f"no test row is of {shown(untested)}: nothing is judged on it", fine=False)


def _numbers(data: CorruptedDataset) -> Iterator[Finding]:
    labels = data.fit.examples.labels
    low, middle, high = labels.min().item(), labels.median().item(), labels.max().item()
    yield Finding("labels", f"numbers from {low:g} to {high:g}, the median is {middle:g}")
    if (count := len(labels.unique())) <= _FEW_VALUES:
        says = f"only {count} different numbers: if they stand for classes, leave likelihood out"
        yield Finding("labels", says, fine=False)


def _near_duplicates(data: CorruptedDataset) -> Iterator[Finding]:
    seen = Examples.concat([data.fit.examples, data.validation.examples])
    searched = data.test.without(data.also_in_training)
    searched = searched[:: max(1, ceil(len(searched) * len(seen) / _PAIRS))]  # spread over the file, which has an order
    near = near_duplicates(seen, searched)
    if near:
        says = f"{len(near)} of {len(searched)} test rows nearly repeat a training row (first: {near[0].test_id} and "
        says += f"{near[0].train_id}): view doubtful_tests lists them, leave_out: [near_duplicate] judges without them"
        yield Finding("near duplicates", says, fine=False)


def _model(spec: CaseSpec, model: nn.Module, rows: Examples, trains: bool) -> Iterator[Finding]:
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    same = torch.equal(logits(model, rows), logits(model, rows))
    says = "two passes give the same outputs" if same else "two passes differ: it draws at random in eval mode"
    yield Finding("determinism", says, same)
    moved = [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before[name])]
    says = f"{moved[0]} moves in eval mode" if moved else f"{len(before)} buffers stay as they are in eval mode"
    yield Finding("buffers", says, not moved)
    if same and not moved and mixes_rows(model, rows):
        says = "a row's outputs change with the rows beside it: let the model read each row by itself in eval mode"
        yield Finding("batches", says, fine=False)
    if spec.task.form is LabelForm.CLASS and squashed(model, rows):
        says = "all lie within [0, 1], as a Sigmoid's, where logits are due: end the model before it"
        yield Finding("outputs", says, fine=False)
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adapted, everything = (sum(p.numel() for p in of) for of in (own, list(model.parameters())))
    yield Finding("parameters", f"{adapted:,} of {everything:,} are adapted")
    classifier = Classifier(model)
    rows = rows.to(classifier.theta_hat.device)
    fisher = squared_gradients(classifier, classifier.theta_hat, rows)
    if classifier.way(rows.inputs) != "batched":
        how = "from what each layer reads" if classifier.way(rows.inputs) == "layers" else "one row at a time, slower"
        yield Finding("gradients", f"taken {how}: torch.func.vmap does not run the model")
    share = (fisher > 0).double().mean().item()
    says = f"the Fisher of {len(rows)} rows is above 0 in {share:.0%} of the adapted parameters"
    yield Finding("fisher", says if share else f"{says}: the model is saturated, the penalty would be 0", share > 0)
    for name, why in unsupported(spec, classifier, rows):
        yield Finding(f"influence: {name}", f"cannot work on this model ({why}): leave it out", fine=False)
    if trains or "retrain" in spec.treatments:
        if reason := fails_in_train_mode(model, rows):
            yield Finding("training", f"the model fails in train mode on {len(rows)} rows ({reason})", fine=False)
        elif auxiliary := auxiliary_outputs(model, rows):
            yield Finding("training", f"of the {auxiliary} that the model returns, the logits alone are trained")
    if reason := not_exported(model, rows):
        yield Finding("tracking", f"MLflow gets the weights alone, no program to serve: {reason}")


def _training(case: Case, model: nn.Module, rows: Examples) -> Iterator[Finding]:
    """The owner's recipe, tried for one epoch of a few rows. What a function of hers does, its first training shows."""
    training = case.training
    if isinstance(training, Recipe):
        one = replace(training, fields=replace(training.fields, epochs=1))
        one.fit(model, rows, rows[:0], torch_stream(case.spec.seed, "preflight"), start="new")
        tried = f" and {training.fields.augment} work" if training.augment else " works"
        yield Finding("training", f"{training.fields.optimiser}{tried} on {len(rows)} rows")
    elif isinstance(training, TrainingFunction):
        yield Finding("training", f"{training.name} is found; it is tried when it first trains")


def _failures(
    case: Case, data: CorruptedDataset, model: nn.Module
) -> Generator[Finding, None, dict[FailureGroup, int]]:
    """The findings, and the number of query failures by group."""
    predicted, correct = predictions(model, data.test), right(model, data.test)
    task, labels = case.spec.task, data.test.labels
    share, usual = correct.double().mean().item(), 0.0
    says = f"wrong on {int((~correct).sum())} of {len(labels)} test rows ({share:.1%} right)"
    if task.measure and (number := measured(model, [(1, data.test)])) is not None:
        says += f", {MEASURES[task.measure]} {number:.3g}"
    if labels.dim() == 1:
        always, name = (labels.mode().values, "commonest class") if data.classes else (labels.median(), "median")
        usual = task.agree(always.expand(len(labels)), labels).double().mean().item()
    if share < usual:
        says += f": saying the {name} always is right on {usual:.1%}. "
        says += "Are the outputs in the order of labels?" if data.classes else "Are the outputs in the label's unit?"
    yield Finding("accuracy", says, share >= usual)
    parts = failure_parts(case.spec, data, predicted, correct)
    for name, tests in parts.items():
        held_out = len(tests.holdout)
        says = f"{len(tests.query)} to search causes with (query), {len(tests.query_tuning)} to choose settings by "
        says += f"(query_tuning), {held_out} to judge by (holdout)"
        few = held_out < FEWEST_ROWS
        yield Finding(
            f"failures: {name}",
            says + (f": fewer than {FEWEST_ROWS} in the holdout prove only a large gain" if few else ""),
            not few,
        )
    holdouts = {FailureGroup(name): tests.holdout for name, tests in parts.items()}
    for name, says, enough in announced_reuse(case, holdouts):
        yield Finding(f"holdout: {name}", says, enough)
    remaining = next(iter(parts.values())).remaining
    for name, tests in parts.items():
        yield from _power(case, name, tests.failure_share, len(tests.holdout), len(remaining))
    yield from _provable(case, next(iter(parts.values())).failure_share, len(remaining))
    yield from _slices(case, data, parts)
    classes = members(remaining.labels, data.classes)
    thin = [name for name, mask in classes.items() if int(mask.sum()) < FEWEST_ROWS]
    if case.spec.gate and thin:
        yield Finding("gate", f"fewer than {FEWEST_ROWS} remaining rows, so not judged: {shown(thin)}", fine=False)
    return {FailureGroup(name): len(tests.query) for name, tests in parts.items()}


def _slices(case: Case, data: CorruptedDataset, parts: Mapping[str, TestPartition]) -> Iterator[Finding]:
    """Groups of failures that could be repaired one at a time, where the case names none."""
    if len(parts) > 1 or case.spec.failures is not None:
        return
    rows, failed = query_side(next(iter(parts.values())))
    for each in slices(about(data, rows), failed):
        says = f"{each.predicate}: {each.marked} of {int(failed.sum())} failures, {each.share:.0%} of its rows"
        yield Finding("slice", f"{says}; failures: {{groups: {{NAME: …}}}} repairs it by itself")


def _provable(case: Case, failure_share: float, remaining: int, at_most: str = "") -> Iterator[Finding]:
    """How many of this many remaining rows may break, or that even an unbroken rest proves no loss below the margin."""
    if case.spec.gate is None:
        return
    bound = case.spec.gate.margin(failure_share, remaining)
    broken = breakable(bound, remaining)
    if broken is not None:
        says = f"at most {broken} of {at_most or 'the '}{remaining} remaining rows may break, to prove a loss below "
        yield Finding("gate", f"{says}{bound:g}")
        return
    best = ceil(1000 * provable_loss(remaining)) / 1000  # rounded down, it would not be proven
    says = (
        f"{at_most}{remaining} remaining rows (half of what the model gets right; the other half is the guard) prove "
    )
    says += f"at best a loss below {best:g}, if none breaks; {rows_to_prove(bound)} prove {bound:g}: "
    allowed = {other: breakable(other, remaining) for other in _OTHER_BOUNDS if other > bound}
    others = ", ".join(f"{other:g} allows {count} broken" for other, count in allowed.items() if count is not None)
    says += f"add test rows, or raise gate.bound{f' ({others})' if others else ''}"
    yield Finding("gate", says, fine=False)


def _power(case: Case, name: str, failure_share: float, holdout: int, remaining: int) -> Iterator[Finding]:
    """Which gain over the controls the gate is likely to prove."""
    if case.spec.gate is None or not holdout or not remaining:
        return
    gain = expected_detectable(case.spec.gate, failure_share, holdout, remaining)
    says = f"a gain of {gain:.3f} over the controls in accuracy on unseen rows would be proven 4 times in 5, as if "
    yield Finding(f"power: {name}", f"{says}{min(gain / failure_share, 1):.0%} of the failures were fixed")


def _memory(data: CorruptedDataset, model: nn.Module) -> Finding:
    theta = Classifier(model).theta_hat
    held = sum(part[:1].inputs.nbytes * len(part) for part in (data.fit.examples, data.validation.examples, data.test))
    gradients = theta.element_size() * theta.numel() * (gradients_at_once(theta) + 12)
    return Finding("memory", f"about {(2 * held + gradients) / 2**30 + 1:.1f} GiB, {held / 2**30:.2f} of it examples")


def _time(seconds: Mapping[str, float]) -> Finding:
    longest = sorted(seconds, key=lambda step: -seconds[step])[:3]
    shown_longest = ", ".join(f"{step} {seconds[step] / 60:.1f}" for step in longest)
    return Finding("time", f"about {sum(seconds.values()) / 60:.1f} minutes on this machine ({shown_longest})")
