"""The static description of an asset: group, text, kinds and columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repair_pipeline.defs.assets.values import table_schema
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.step import Step
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.treatment.treatments import TREATMENTS


@dataclass(frozen=True)
class Label:
    """An asset's place in the lineage, and its description."""

    group: str
    description: str
    kinds: frozenset[str]
    heavy: bool = False
    """Whether it uses the GPU, and so needs a slot of the pool ``gpu``."""
    table: str | None = None
    """The SQL view that it adds rows to."""

    def attributes(self) -> dict[str, Any]:
        """The label as arguments of ``AssetSpec``."""
        schema = {"dagster/column_schema": table_schema(TABLES[self.table])} if self.table else {}
        return {
            "group_name": self.group,
            "description": self.description,
            "kinds": set(self.kinds),
            "owners": ["team:repair"],
            "metadata": schema,
        }


def label(step: Step) -> Label:
    """The label of a step; descriptions of methods come from the catalogues."""
    if step.kind == "influence":
        method = METHODS[step.entry]
        text = f"How much each fit row contributed to the failures; positive is harmful. {_sentence(method.line)}"
        return Label("step_1_causes", f"{text} Role: {method.role}.", _PARQUET, heavy=True, table="influence")
    if step.kind == "treatment":
        recipe = TREATMENTS[step.entry]
        lines = [recipe.of_rows and recipe.of_rows.format(rows="the causes found"), recipe.alone]
        text = "The model after a repair, or a control to compare repairs with."
        return Label("step_2_treatment", f"{text} {_sentence('; '.join(filter(None, lines)))}", _TORCH, heavy=True)
    return _LABELS[step.name]


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


_PARQUET = frozenset({"parquet"})
_TORCH = frozenset({"torch", "safetensors"})
_LABELS = {
    "corrupted_dataset": Label(
        "base", "The training rows, with corruption planted in studies, and the test rows.", _PARQUET
    ),
    "base_model": Label("base", "θ̂: the model whose failures are repaired.", _TORCH, heavy=True),
    "fisher_diagonal": Label("base", "F̂: the mean of squared per-sample gradients over D.", _TORCH, heavy=True),
    "failure_partition": Label(
        "base",
        "The test rows, split by whether the model gets them right and by which steps may read them.",
        _PARQUET,
        table="examples",
    ),
    "cross_fit": Label(
        "step_1_causes",
        "Predictions of models that were not trained on the row, from which labels are suggested.",
        _TORCH,
        heavy=True,
    ),
    "pairs": Label(
        "step_1_causes",
        "First-order influence of the most harmful rows on every query failure; only for cases with a gate.",
        _PARQUET,
        heavy=True,
        table="pairs",
    ),
    "gate_controls": Label(
        "step_2_treatment",
        "The judged treatment with as many random rows removed, for several seeds; only for cases with a gate.",
        _TORCH,
        heavy=True,
    ),
    "doubtful_tests": Label(
        "evidence",
        "Test rows that nearly repeat training rows or whose label is probably wrong; only for cases with a gate.",
        _PARQUET,
        heavy=True,
        table="doubtful_tests",
    ),
    "candidate": Label(
        "evidence", "The accepted model in MLflow's registry, with the alias candidate.", frozenset({"mlflow"})
    ),
    "evaluation": Label(
        "evidence",
        "Detection and recovery, with controls. Reads the holdout, as only patch_verdict does besides.",
        _PARQUET,
        table="recovery",
    ),
    "patch_verdict": Label(
        "evidence",
        "Whether the next training is better on the patched data: several trainings on both.",
        _TORCH,
        heavy=True,
        table="patch_verdicts",
    ),
    "report": Label("evidence", "The case on one self-contained HTML page.", frozenset({"html"})),
    "tracked_run": Label(
        "evidence", "The case in MLflow: spec, code, metrics, figures and the repaired model.", frozenset({"mlflow"})
    ),
}
