"""A case: a spec together with the paths of its files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from repair_pipeline.cases import build
from repair_pipeline.cases.grid import Variant
from repair_pipeline.cases.presets import case_id, preset, unknown_case
from repair_pipeline.cases.sources import FailureGroups
from repair_pipeline.cases.spec import CaseSpec, parse_spec
from repair_pipeline.compute.streams import torch_stream
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.datasets.patching import patched
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.number import Number
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.models.user_model import freeze
from repair_pipeline.problem.task import RepairTask, in_fair_order
from repair_pipeline.storage.files import read_parquet, read_tensor_notes, read_tensors
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import fingerprint, load_dataset, load_partition, save_rows
from repair_pipeline.training.protocol import Training
from repair_pipeline.types import (
    ALL_FAILURES,
    CorruptedDataset,
    Dataset,
    FailureGroup,
    OutOfFold,
    Progress,
    Role,
    TestPartition,
)


@dataclass(frozen=True)
class Case:
    """A spec, its files and the device it runs on. Data that were read are cached."""

    spec: CaseSpec
    layout: Layout
    data_dir: Path
    device: torch.device

    def __getstate__(self) -> Mapping[str, object]:
        """What another process is sent: the fields, and not the data, which it reads itself."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def groups(self) -> tuple[FailureGroup, ...]:
        """Its failure groups."""
        failures = self.spec.failures
        return tuple(map(FailureGroup, failures.groups)) if isinstance(failures, FailureGroups) else (ALL_FAILURES,)

    @property
    def views(self) -> list[GroupView]:
        """One view for each failure group. They share the data that the case has read."""
        return [GroupView(self.spec, self.layout, self.data_dir, self.device, group, self) for group in self.groups]

    @property
    def first_view(self) -> GroupView:
        """The view that pages and summaries show: of the only failure group, or of the first that the case names."""
        return self.views[0]

    @cached_property
    def id(self) -> str:
        return case_id(self.spec)

    @property
    def dataset_path(self) -> Path:
        return self.layout.base(self.spec.base_id, "dataset.parquet")

    @property
    def base_model_path(self) -> Path:
        return self.layout.base(self.spec.base_id, "base_model.safetensors")

    @property
    def fisher_path(self) -> Path:
        return self.layout.base(self.spec.base_id, "fisher_diagonal.safetensors")

    @property
    def partition_path(self) -> Path:
        return self.layout.table("examples", self.id)

    @property
    def patch_paths(self) -> tuple[Path, ...]:
        """The accepted patches of earlier cases."""
        return tuple(self.layout.table("patch", key) for key in self.spec.patches or ())

    def source_dataset(self, rng: np.random.Generator) -> Dataset:
        """The dataset before corruption, with the accepted patches applied.

        Raises:
            InputError: the data cannot be read or used.
        """
        dataset = build.load_dataset(self.spec, self.data_dir, rng)
        return patched(dataset, [read_parquet(path)[0] for path in self.patch_paths])

    @cached_property
    def data(self) -> CorruptedDataset:
        return load_dataset(self.dataset_path)

    @property
    def likelihood(self) -> Likelihood:
        """What the case's task is: p(y|x,θ) of the outputs, with the scale that the base model's errors give."""
        task = self.spec.task
        return task.at(read_tensor_notes(self.base_model_path)["sigma"]) if isinstance(task, Number) else task

    def untrained(self, generator: torch.Generator, likelihood: Likelihood | None = None) -> nn.Module:
        """A newly initialised model of the case, on its device.

        Args:
            generator: seeds its weights.
            likelihood: of its outputs; None: the case's, before anything is learnt of it from a model.
        """
        data = self.data
        return build.build_model(self.spec, data.fit.examples, len(data.classes), self.device, generator, likelihood)

    @property
    def training(self) -> Training:
        """How the case trains, with the owner's functions resolved."""
        return build.build_training(self.spec)

    def model(self, path: Path) -> nn.Module:
        """The case's architecture with the weights in ``path``, in eval mode on the case's device."""
        model = self.untrained(torch.Generator(), self.likelihood)
        model.load_state_dict(read_tensors(path)[0])
        return freeze(model, self.spec.parameters or "all").eval()

    @property
    def record(self) -> Mapping[str, object] | None:
        """The case's row of ``cases``, or None where it is not registered."""
        path = self.layout.table("cases", self.id)
        return read_parquet(path)[0].to_pylist()[0] if path.exists() else None

    def register(self, status: str) -> None:
        """Write the case's row of ``cases``. The time of its first registration is kept."""
        has_data = self.dataset_path.exists()
        row = {
            "base_id": self.spec.base_id,
            "dataset": self.spec.data_name,
            "model": self.spec.model.title,
            "corruption": self.spec.corruption.kind if self.spec.corruption else None,
            "seed": self.spec.seed,
            "query_fraction": self.spec.query_fraction,
            "spec": json.dumps(self.spec.resolved),  # in its own order: the first treatment is the one that is judged
            "fingerprint": fingerprint(self.data) if has_data else None,
            "status": status,
            "created_at": (self.record or {}).get("created_at") or datetime.now(UTC),
        }
        save_rows(self.layout.table("cases", self.id), "cases", [row], notes={})


@dataclass(frozen=True)
class GroupView(Case):
    """A case seen from one of its failure groups: the group's rows, scores and repaired models."""

    group: FailureGroup
    case: Case = field(repr=False, compare=False)

    @cached_property
    def data(self) -> CorruptedDataset:
        return self.case.data

    def influence_path(self, method: str) -> Path:
        return self.layout.influence(self.id, method, self.group.phrase("{}"))

    def model_path(self, variant: Variant) -> Path:
        return self.named_model_path(variant.name)

    def named_model_path(self, name: str) -> Path:
        """The path of the weights of the model with this name."""
        return self.layout.model(self.id, self.group.phrase("{}-") + name)

    @cached_property
    def partition(self) -> TestPartition:
        return load_partition(self.partition_path, self.data.test, self.group)

    @property
    def out_of_fold_path(self) -> Path:
        return self.layout.out_of_fold(self.id, self.group.phrase("{}"))

    @property
    def cross_predicted_path(self) -> Path:
        return self.layout.cross_predicted(self.id, self.group.phrase("{}"))

    def out_of_fold(self) -> OutOfFold:
        """Predictions of models that were not trained on the row."""
        tensors, notes = read_tensors(self.out_of_fold_path)
        return OutOfFold(**tensors, failures=notes["failures"])

    def task(self, step: str, progress: Progress, role: Role = "repair") -> RepairTask:
        """What a method with this role may read, and the random stream of ``step``."""
        tensors, _ = read_tensors(self.fisher_path)
        return RepairTask(
            classifier=Classifier(self.model(self.base_model_path)),
            fisher=tensors["fisher"].to(self.device),
            log_lik_hat=tensors["log_lik_hat"],
            fit=self.data.fit.examples,
            validation=self.data.validation.examples,
            tests=in_fair_order(self.partition.query_side, self.spec.seed),
            truth=self.data.fit.corrupted_ids | self.data.validation.corrupted_ids if role == "reference" else None,
            training=self.training,
            unknown_recipe=self.spec.unknown_recipe,
            untrained=self.untrained,
            generator=torch_stream(self.spec.seed, step),
            progress=progress,
            stored_out_of_fold=self.out_of_fold if self.spec.cross_fits else None,
        )


def stored_spec(layout: Layout, key: str) -> CaseSpec:
    """The spec of a registered case, or of a preset.

    Raises:
        InputError: ``key`` is neither.
    """
    path = layout.table("cases", key)
    if path.is_file():
        return parse_spec(json.loads(read_parquet(path)[0]["spec"][0].as_py()))
    try:
        return preset(key)
    except InputError as error:
        raise unknown_case(key, stored_cases(layout)) from error


def stored_cases(layout: Layout) -> list[str]:
    """The ids of all registered cases, in alphabetical order."""
    return sorted(path.parent.name.removeprefix("case_id=") for path in layout.results.glob("cases/*/cases.parquet"))
