"""The metadata of a materialisation: sizes, numbers, pictures, and an SQL query for more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from repair_pipeline.cases.grid import variants
from repair_pipeline.defs.assets import pictures
from repair_pipeline.defs.assets.values import figure_value, sql_command, table_value
from repair_pipeline.evaluation.detection import detect
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import chosen_variants, missing
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.repair_record import read_repair_record
from repair_pipeline.pipeline.steps import Step
from repair_pipeline.pipeline.summary import summary
from repair_pipeline.reporting.figures import case_figures
from repair_pipeline.storage.files import Notes, read_parquet, read_tensors
from repair_pipeline.storage.records import load_scores
from repair_pipeline.tracking.runs import model_url, run_url
from repair_pipeline.types import Causes, FailureGroup

Measures = dict[str, Any]


def measures(step: Step, case: Case) -> Measures:
    """The metadata of a materialisation."""
    paths = [file.path for file in step.files(case)]
    if step.kind == "influence":
        metadata = _influence(case, step.entry)
    elif step.kind == "treatment":
        metadata = _repaired(case, step.entry)
    else:
        metadata = _MEASURES[step.name](case)
    return {**metadata, **{path.name: dg.MetadataValue.path(path) for path in paths}}


def _corrupted_dataset(case: Case) -> Measures:
    data, (table, notes) = case.data, read_parquet(case.dataset_path)
    return {
        "dagster/row_count": len(table),
        "fit": len(data.fit.examples),
        "validation": len(data.validation.examples),
        "test": len(data.test),
        "planted_in_fit": len(data.fit.corrupted_ids),
        "planted_in_validation": len(data.validation.corrupted_ids),
        "classes": len(data.classes),
        **_cost(notes),
    }


def _base_model(case: Case) -> Measures:
    tensors, notes = read_tensors(case.base_model_path)
    return {"parameters": sum(tensor.numel() for tensor in tensors.values()), **_cost(notes)}


def _fisher_diagonal(case: Case) -> Measures:
    tensors, notes = read_tensors(case.fisher_path)
    fisher = tensors["fisher"]
    return {"mean": fisher.mean().item(), "largest": fisher.max().item(), "rows": notes["rows"], **_cost(notes)}


def _failure_partition(case: Case) -> Measures:
    view = case.first_view
    table, notes = read_parquet(view.partition_path)
    sizes = {name: len(part) for name, part in view.partition.parts().items()}
    right = sizes["guard"] + sizes["remaining"]
    return {
        **pictures.failure_pictures(view.first_view),
        "dagster/row_count": len(table),
        "base_test_accuracy": right / sum(sizes.values()),
        "failures": sum(sizes.values()) - right,
        **sizes,
        **_cost(notes),
        "ask": sql_command(f"SELECT split, count(*) AS rows FROM examples WHERE case_id = '{view.id}' GROUP BY split"),
    }


def _influence(case: Case, method: str) -> Measures:
    case = case.first_view
    rows, (_, notes) = case.data.fit, read_parquet(case.influence_path(method))
    scores = load_scores(case.influence_path(method), rows.examples)
    # The number of causes may depend on another method's scores, so only the evaluation reports it.
    detection = {
        key: value
        for key, value in asdict(detect(scores, rows.corrupted, Causes(()))).items()
        if key in ("auc", "average_precision", "precision_at_n") and value is not None
    }
    shown_notes = {key: value for key, value in notes.items() if isinstance(value, (int, float, str))}
    where = f"case_id = '{case.id}' AND method = '{method}'"
    return {
        **pictures.influence_pictures(case, method, scores, detection),
        "dagster/row_count": len(scores.ids),
        **detection,
        **shown_notes,
        "ask": sql_command(f"SELECT * FROM influence WHERE {where} ORDER BY rank LIMIT 20"),
    }


def _repaired(case: Case, treatment: str) -> Measures:
    """The cost of each model and its fitness on the query side; only the evaluation reads the holdout."""
    models, numbers = [], Measures()
    for view in case.views:
        chosen = chosen_variants(view)
        for variant in variants(case.spec, treatment):
            if view.model_path(variant).exists():
                record = read_repair_record(view.model_path(variant))
                row = {"removed": record.removed, "seconds": record.seconds, **asdict(record.fitness)}
                models.append({"failures": view.group, "model": variant.name, **row})
                if variant in chosen:
                    numbers |= {_key(view.group, key, variant.influence_method): value for key, value in row.items()}
    return {
        "variants": len(models),
        "models": table_value(pa.Table.from_pylist(models)),
        **numbers,
        "ask": sql_command(f"SELECT * FROM recovery WHERE case_id = '{case.id}' AND treatment = '{treatment}'"),
    }


def _key(group: str, *parts: str | None) -> str:
    """A metadata key that is the same in every case, so that Dagster can plot it over cases."""
    return "_".join(filter(None, (*parts, FailureGroup(group).phrase("{}"))))


def _evaluation(case: Case) -> Measures:
    detection, recovery = (read_parquet(case.layout.table(name, case.id))[0] for name in ("detection", "recovery"))
    first = [row for row in recovery.to_pylist() if row["failure_group"] == case.groups[0]]
    numbers = {
        _key(row["failure_group"], "auc", row["method"]): row["auc"]
        for row in detection.to_pylist()
        if row["auc"] is not None
    }
    for row in recovery.filter(recovery["chosen"]).to_pylist():
        for part in ("holdout", "remaining"):
            key = _key(row["failure_group"], part, row["influence_method"], row["treatment"])
            numbers[key] = row[f"{part}_accuracy"]
    selected = summary(case)
    return {
        **pictures.recovery_pictures(case.first_view, first),
        "judged_repair": selected.repair,
        "verdict": selected.verdict,
        **{_key(row["failure_group"], "reason"): row["reason"] for row in gate_verdicts(case)},
        "dagster/row_count": len(recovery),
        "missing": ", ".join(missing(case)) or "nothing",
        "recovery": table_value(recovery.select(list(_RECOVERY)).rename_columns(list(_RECOVERY.values()))),
        "detection": table_value(detection.select(["method", "auc", "precision_at_n", "precision", "recall"])),
        "ask": sql_command(f"SELECT * FROM recovery WHERE case_id = '{case.id}'"),
        **selected.metrics,
        **numbers,
    }


_RECOVERY = {
    "influence_method": "causes of",
    "treatment": "treatment",
    "removed": "removed",
    "query_accuracy": "query",
    "holdout_accuracy": "holdout",
    "remaining_accuracy": "remaining",
}
"""The columns shown on the page, with shorter names."""


def _report(case: Case) -> Measures:
    figures = case_figures(case.layout, case.id, case.data, case.first_view.partition)
    shown = {name: figure_value(name, figure) for name, figure in figures.items()}
    return {"open": dg.MetadataValue.md(f"```\nrepair report {case.id} --open\n```"), **shown}


def _tracked_run(case: Case) -> Measures:
    run = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    command = f"repair run --from-mlflow {run['run_id']}"
    return {
        "mlflow_run": dg.MetadataValue.url(run_url(run)),
        "mlflow_run_id": run["run_id"],
        "report": dg.MetadataValue.path(case.layout.report(case.id)),
        "repeat": dg.MetadataValue.md(f"```\n{command}\n```"),
    }


def _pairs(case: Case) -> Measures:
    table, notes = read_parquet(case.layout.table("pairs", case.id))
    ask = sql_command(f"SELECT * FROM pairs WHERE case_id = '{case.id}' AND rank <= 5")
    shown = pictures.pair_pictures(case.first_view)
    return {**shown, "dagster/row_count": len(table), **_cost(notes), "ask": ask}


def _gate_controls(case: Case) -> Measures:
    return {"ask": sql_command(f"SELECT * FROM verdicts WHERE case_id = '{case.id}'")}


def _doubtful_tests(case: Case) -> Measures:
    table, notes = read_parquet(case.layout.table("doubtful_tests", case.id))
    ask = sql_command(f"SELECT * FROM doubtful_tests WHERE case_id = '{case.id}'")
    return {**Counter(table["reason"].to_pylist()), "dagster/row_count": len(table), **_cost(notes), "ask": ask}


def _cross_fit(case: Case) -> Measures:
    predicted = case.first_view.out_of_fold()
    right = (predicted.clean.argmax(dim=1) == predicted.clean_labels).double().mean().item()
    return {"rows": len(predicted.fit), "clean_rows": len(predicted.clean), "accuracy_on_clean_rows": right}


def _patch_verdict(case: Case) -> Measures:
    table = read_parquet(case.layout.table("patch_verdicts", case.id))[0]
    ask = sql_command(f"SELECT * FROM patch_verdicts WHERE case_id = '{case.id}'")
    return {**table.to_pylist()[0], "ask": ask}


def _candidate(case: Case) -> Measures:
    candidate = json.loads(case.layout.candidate(case.id).read_text(encoding="utf-8"))
    known = {key: value for key, value in candidate.items() if value is not None}
    run = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    return {
        **known,
        "mlflow_model": dg.MetadataValue.url(model_url(candidate["name"], candidate["version"])),
        "mlflow_run": dg.MetadataValue.url(run_url(run)),
        "promote": dg.MetadataValue.md(f"```\nrepair promote {candidate['name']}\n```"),
    }


_MEASURES: Mapping[str, Callable[[Case], Measures]] = {
    "corrupted_dataset": _corrupted_dataset,
    "base_model": _base_model,
    "fisher_diagonal": _fisher_diagonal,
    "failure_partition": _failure_partition,
    "cross_fit": _cross_fit,
    "patch_verdict": _patch_verdict,
    "pairs": _pairs,
    "gate_controls": _gate_controls,
    "doubtful_tests": _doubtful_tests,
    "candidate": _candidate,
    "evaluation": _evaluation,
    "report": _report,
    "tracked_run": _tracked_run,
}


def _cost(notes: Notes) -> Measures:
    return {"seconds": notes["seconds"], "device": notes["device"]}
