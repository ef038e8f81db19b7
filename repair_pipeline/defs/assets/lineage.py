"""The assets of a repair, in order: the steps that make each, and what its node and page say."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa

from repair_pipeline.defs.assets.values import table_schema, table_value
from repair_pipeline.defs.partitions import CASES
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.storage.identity import kept_digests
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.treatment.treatments import TREATMENTS

FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=26))
"""For nightly cases: the last report is from the last night."""


@dataclass(frozen=True)
class Asset:
    """One result of a case, by one or several steps of the pipeline."""

    name: str
    needs: tuple[str, ...]
    """The assets that it is drawn behind. The steps say what they read."""
    description: str
    kinds: str
    """Separated by spaces."""
    steps: tuple[Step, ...] = ()
    """The steps that make it, in order; a case uses some of them."""
    shows: tuple[str, ...] = ()
    """Its tables that a step of another asset makes."""
    table: str | None = None
    """The SQL view that it adds rows to."""
    optional: bool = False
    """Whether cases can end without it."""
    facts: dict[str, Any] = field(default_factory=dict)
    """Metadata of every case."""

    def files(self, case: Case) -> list[Path]:
        """Its files for a case that exist."""
        of_steps = [path for step in self.steps for file in step.files(case) for path in file.paths]
        of_tables = [case.layout.table(table, case.id) for table in self.shows]
        return [path for path in dict.fromkeys((*of_steps, *of_tables)) if path.exists()]

    def data_version(self, case: Case) -> str:
        """A digest of its files for a case, 32 hex digits."""
        return kept_digests().of({os.path.relpath(path, case.layout.home): path for path in self.files(case)})

    @property
    def code_version(self) -> str | None:
        """The versions of the steps that make it, added up: it rises with any of them."""
        return str(sum(step.version for step in self.steps)) if self.steps else None

    def spec(self) -> dg.AssetSpec:
        """The asset as Dagster declares it."""
        schema = {"dagster/column_schema": table_schema(TABLES[self.table])} if self.table else {}
        return dg.AssetSpec(
            self.name,
            deps=self.needs,
            description=self.description,
            kinds=set(self.kinds.split()),
            owners=["team:repair"],
            group_name="repair",
            code_version=self.code_version,
            partitions_def=CASES,
            skippable=self.optional,
            freshness_policy=FRESH if self.name == "report" else None,
            metadata={**schema, **self.facts},
        )


def _steps(*names: str, kind: str | None = None) -> tuple[Step, ...]:
    return tuple(step for step in STEPS if step.name in names or (kind and step.kind == kind))


def _methods() -> dg.TableMetadataValue:
    rows = [{"method": name, "role": method.role, "what it does": method.line} for name, method in METHODS.items()]
    return table_value(pa.Table.from_pylist(rows))


def _treatments() -> dg.TableMetadataValue:
    lines = {
        name: [recipe.of_rows and recipe.of_rows.format(rows="the causes found"), recipe.alone]
        for name, recipe in TREATMENTS.items()
    }
    rows = [{"treatment": name, "what it does": "; ".join(filter(None, said))} for name, said in lines.items()]
    return table_value(pa.Table.from_pylist(rows))


_DATA = Asset(
    "corrupted_dataset",
    (),
    "Training and test rows of a case. Your own rows stay as they are; studies plant wrong labels or noise.",
    "parquet",
    _steps("corrupted_dataset"),
)
_MODEL = Asset(
    "base_model",
    ("corrupted_dataset",),
    "θ̂: the model whose failures are repaired, yours or one that is trained here.",
    "torch safetensors",
    _steps("base_model"),
)
_FAILURES = Asset(
    "failure_partition",
    ("base_model",),
    "Where the model fails: the test rows, split by that and by which steps may read them.",
    "parquet",
    _steps("failure_partition"),
    table="examples",
)
_FISHER = Asset(
    "fisher_diagonal",
    ("base_model",),
    "F̂: how firmly the rows hold each parameter, as the mean of squared per-sample gradients over D.",
    "torch safetensors",
    _steps("fisher_diagonal"),
)
_CAUSES = Asset(
    "influence",
    ("failure_partition", "fisher_diagonal"),
    "Step 1, causes: how much each fit row contributed to the failures, by every method that the case names. "
    "Positive is harmful.",
    "parquet",
    _steps("cross_fit", "pairs", kind="influence"),
    table="influence",
    facts={"methods": _methods()},
)
_REPAIRS = Asset(
    "repaired_models",
    ("influence",),
    "Step 2, repairs: a model for every treatment that the case names, and the controls to compare it with.",
    "torch safetensors",
    _steps("gate_controls", kind="treatment"),
    facts={"treatments": _treatments()},
)
_EVALUATION = Asset(
    "evaluation",
    ("repaired_models",),
    "What each repair did to failures and to healthy rows, beside the controls. Reads the holdout, as only verdict "
    "does besides.",
    "parquet",
    _steps("doubtful_tests", "evaluation"),
    table="recovery",
)
_VERDICT = Asset(
    "verdict",
    ("repaired_models",),
    "Whether the gate accepts the repaired model, and whether the next training is better on patched data.",
    "parquet",
    _steps("patch_verdict"),
    shows=("verdicts",),
    table="verdicts",
)
_PATCH = Asset(
    "patch",
    ("repaired_models",),
    "Rows to drop or relabel in the training data, for a person to review; only for cases with a gate.",
    "parquet",
    shows=("patch",),
    table="patch",
    optional=True,
)
_REPORT = Asset("report", ("verdict",), "All of a case on one self-contained HTML page.", "html", _steps("report"))
_TRACKED = Asset(
    "tracked_run",
    ("evaluation",),
    "The case as MLflow keeps it: spec, code, metrics, figures, report and the repaired model.",
    "mlflow",
    _steps("tracked_run"),
)
_CANDIDATE = Asset(
    "candidate",
    ("verdict",),
    "An accepted model as a version in MLflow's registry, to promote to champion.",
    "mlflow",
    _steps("candidate"),
    optional=True,
)

LINEAGE = (
    (_DATA,),
    (_MODEL,),
    (_FAILURES,),
    (_FISHER,),
    (_CAUSES,),
    (_REPAIRS,),
    (_EVALUATION, _VERDICT, _PATCH),
    (_REPORT, _TRACKED, _CANDIDATE),
)
"""Assets in the order in which they are made; those that stand together are made by one step of a run."""

EVERY = tuple(asset for together in LINEAGE for asset in together)
