"""What Dagster's pages say of a step before it has run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repair_pipeline.defs.assets.looks import table_schema
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.treatment.treatments import TREATMENTS


@dataclass(frozen=True)
class Label:
    """Where an asset stands in the lineage, and what it is."""

    group: str
    description: str
    kinds: frozenset[str]
    heavy: bool = False
    """It wants the GPU, and so a slot of its pool."""
    table: str | None = None
    """The SQL view that it adds to."""

    def attributes(self) -> dict[str, Any]:
        """The label as Dagster takes it."""
        schema = {"dagster/column_schema": table_schema(TABLES[self.table])} if self.table else {}
        return {
            "group_name": self.group,
            "description": self.description,
            "kinds": set(self.kinds),
            "owners": ["team:repair"],
            "metadata": schema,
        }


def label(step: Step) -> Label:
    """The label of a step; what a method does is said by the catalogue."""
    if step.kind == "influence":
        method = METHODS[step.entry]
        says = f"How much every fit row did to cause the failures; positive is harmful. {_sentence(method.line)}"
        return Label("step_1_causes", f"{says} Role: {method.role}.", _PARQUET, heavy=True, table="influence")
    if step.kind == "treatment":
        recipe = TREATMENTS[step.entry]
        does = [recipe.of_rows and recipe.of_rows.format(rows="the causes found"), recipe.alone]
        says = "The model after a repair, or after what it is compared with."
        return Label("step_2_treatment", f"{says} {_sentence('; '.join(filter(None, does)))}", _TORCH, heavy=True)
    return _LABELS[step.name]


def _sentence(line: str) -> str:
    return f"{line[0].upper()}{line[1:]}."


_PARQUET = frozenset({"parquet"})
_TORCH = frozenset({"torch", "safetensors"})
_LABELS = {
    "corrupted_dataset": Label("base", "The training rows, with label noise planted, and the test rows.", _PARQUET),
    "base_model": Label("base", "θ̂: the model whose failures are to be repaired.", _TORCH, heavy=True),
    "fisher_diagonal": Label("base", "F̂: the mean of squared per-sample gradients over D.", _TORCH, heavy=True),
    "failure_partition": Label(
        "base",
        "The test rows, split by what the model gets wrong and what each part may be read for.",
        _PARQUET,
        table="examples",
    ),
    "pairs": Label(
        "step_1_causes",
        "First-order influence of the most harmful rows on every query failure; only where the case has a gate.",
        _PARQUET,
        heavy=True,
        table="pairs",
    ),
    "gate_controls": Label(
        "step_2_treatment",
        "The judged treatment with as many random rows removed, from several seeds; only where the case has a gate.",
        _TORCH,
        heavy=True,
    ),
    "candidate": Label(
        "evidence", "The accepted model in MLflow's registry, by the alias candidate.", frozenset({"mlflow"})
    ),
    "evaluation": Label(
        "evidence",
        "What was found and what was repaired, with controls. The one step that reads the holdout.",
        _PARQUET,
        table="recovery",
    ),
    "report": Label("evidence", "The case on one self-contained page.", frozenset({"html"})),
    "tracked_run": Label(
        "evidence", "The case in MLflow: spec, code, metrics, figures and the repaired model.", frozenset({"mlflow"})
    ),
}
