"""The metadata of a materialisation: a headline, numbers, pictures, and an SQL query for more."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import dagster as dg
import pyarrow as pa

from repair_pipeline.defs.assets import pictures
from repair_pipeline.defs.assets.links import links
from repair_pipeline.defs.assets.values import command, sql_command, table_value
from repair_pipeline.evaluation.detection import detect
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.evaluation import chosen_variants, grid, missing
from repair_pipeline.pipeline.gate import gate_verdicts
from repair_pipeline.pipeline.next_training import patch_verdict
from repair_pipeline.pipeline.repair_record import read_repair_record
from repair_pipeline.pipeline.summary import summary
from repair_pipeline.reporting.descriptions import percent, plain
from repair_pipeline.storage.files import Notes, read_parquet, read_tensors
from repair_pipeline.storage.records import load_scores
from repair_pipeline.tracking.runs import model_url
from repair_pipeline.types import Causes, FailureGroup

Measures = dict[str, Any]


def measures(asset: str, case: Case) -> Measures:
    """The metadata of a materialisation. Its first entry, ``headline``, says in a line what came out."""
    return _MEASURES[asset](case)


def _corrupted_dataset(case: Case) -> Measures:
    data, (table, notes) = case.data, read_parquet(case.dataset_path)
    fit, validation, planted = len(data.fit.examples), len(data.validation.examples), len(data.fit.corrupted_ids)
    corrupted = f"{planted:,} of the fit rows corrupted" if case.spec.corruption else "rows as given"
    return {
        "headline": f"{fit:,} rows to fit, {validation:,} to validate, {len(data.test):,} to test; {corrupted}",
        "dagster/row_count": len(table),
        "fit": fit,
        "validation": validation,
        "test": len(data.test),
        "planted_in_fit": planted,
        "planted_in_validation": len(data.validation.corrupted_ids),
        "classes": len(data.classes),
        **_cost(notes),
    }


def _base_model(case: Case) -> Measures:
    tensors, notes = read_tensors(case.base_model_path)
    parameters = sum(tensor.numel() for tensor in tensors.values())
    return {"headline": f"{parameters:,} parameters", "parameters": parameters, **_cost(notes)}


def _fisher_diagonal(case: Case) -> Measures:
    tensors, notes = read_tensors(case.fisher_path)
    mean, largest = tensors["fisher"].mean().item(), tensors["fisher"].max().item()
    headline = f"mean {mean:.3g}, largest {largest:.3g}"
    return {"headline": headline, "mean": mean, "largest": largest, "rows": notes["rows"], **_cost(notes)}


def _failure_partition(case: Case) -> Measures:
    view = case.first_view
    table, notes = read_parquet(view.partition_path)
    sizes = {name: len(part) for name, part in view.partition.parts().items()}
    tests, right = sum(sizes.values()), sizes["guard"] + sizes["remaining"]
    return {
        "headline": f"{tests - right:,} failures in {tests:,} test rows: {percent(right / tests)} right",
        **pictures.failure_pictures(view.first_view),
        "dagster/row_count": len(table),
        "base_test_accuracy": right / tests,
        "failures": tests - right,
        **sizes,
        **_cost(notes),
        "ask": sql_command(f"SELECT split, count(*) AS rows FROM examples WHERE case_id = '{view.id}' GROUP BY split"),
    }


def _influence(case: Case) -> Measures:
    """A row per method, and the pictures of the one whose causes are treated first."""
    view = case.first_view
    made = [method for method in case.spec.influence if view.influence_path(method).exists()]
    told = next((method for method in (*case.spec.treat, *made) if method in made), None)
    rows, numbers, shown = list[Measures](), Measures(), Measures()
    for method in made:
        # The number of causes may depend on another method's scores, so only the evaluation reports it.
        path = view.influence_path(method)
        scores, (_, notes) = load_scores(path, view.data.fit.examples), read_parquet(path)
        detected = asdict(detect(scores, view.data.fit.corrupted, Causes(())))
        found = {key: detected[key] for key in ("auc", "average_precision", "precision_at_n")}
        row = {**found, "converged": notes.get("converged"), "seconds": notes["seconds"]}
        rows.append({"method": method, "role": METHODS[method].role, **row})
        numbers |= {_key(view.group, key, method): value for key, value in row.items() if isinstance(value, float)}
        if method == told:
            known = {key: value for key, value in found.items() if value is not None}
            shown |= pictures.influence_pictures(view, method, scores, known)
            shown |= {key: value for key, value in notes.items() if isinstance(value, (int, float, str))}
    auc = numbers.get(_key(view.group, "auc", told))
    found_by = f"{told} finds the planted rows with AUC {auc:.3f}" if auc is not None else f"causes by {told}"
    return {
        "headline": f"{len(made)} of {len(case.spec.influence)} methods; {found_by if told else 'no causes'}",
        "methods": table_value(pa.Table.from_pylist(rows)),
        **numbers,
        **shown,
        "dagster/row_count": len(view.data.fit.examples) * len(made),
        "ask": sql_command(f"SELECT * FROM influence WHERE case_id = '{case.id}' AND rank <= 20 ORDER BY method, rank"),
    }


def _repaired_models(case: Case) -> Measures:
    """The cost of each model and its fitness on the query side; only the evaluation reads the holdout."""
    models, numbers, wanted = list[Measures](), Measures(), 0
    for view in case.views:
        chosen = chosen_variants(view)
        for variant in grid(case):
            wanted += 1
            if view.model_path(variant).exists():
                record = read_repair_record(view.model_path(variant))
                row = {"removed": record.removed, "seconds": record.seconds, **asdict(record.fitness)}
                models.append({"failures": view.group, "model": variant.name, "treatment": variant.treatment, **row})
                if variant in chosen:
                    said = (variant.influence_method, variant.treatment)
                    numbers |= {_key(view.group, key, *said): value for key, value in row.items()}
    return {
        "headline": f"{len(models)} of {wanted} models; {_fitted(models)}",
        "models": table_value(pa.Table.from_pylist(models)),
        **numbers,
        "ask": sql_command(f"SELECT * FROM recovery WHERE case_id = '{case.id}'"),
    }


def _fitted(models: list[Measures]) -> str:
    best = max((model["tuning_accuracy"] for model in models if model["removed"]), default=None)
    return "no rows removed" if best is None else f"up to {percent(best)} of query_tuning right, rows removed"


def _key(group: str, *parts: str | None) -> str:
    """A metadata key that is the same in every case, so that Dagster can plot it over cases."""
    return "_".join(filter(None, (*parts, FailureGroup(group).phrase("{}"))))


def _evaluation(case: Case) -> Measures:
    detection, recovery = (_table(case, name) for name in ("detection", "recovery"))
    first = [row for row in recovery.to_pylist() if row["failure_group"] == case.groups[0]]
    numbers = Measures()
    for row in recovery.filter(recovery["chosen"]).to_pylist():
        for part in ("holdout", "remaining"):
            key = _key(row["failure_group"], part, row["influence_method"], row["treatment"])
            numbers[key] = row[f"{part}_accuracy"]
    doubtful = Counter(_table(case, "doubtful_tests")["reason"].to_pylist()) if case.spec.gate else {}
    selected = summary(case)
    fixed, kept = (selected.metrics.get(f"{part}_accuracy") for part in ("holdout", "remaining"))
    right = f": {percent(fixed)} of holdout, {percent(kept)} of remaining right" if fixed is not None and kept else ""
    return {
        "headline": selected.repair + right,
        **pictures.recovery_pictures(case.first_view, first),
        "judged_repair": selected.repair,
        "dagster/row_count": len(recovery),
        "missing": ", ".join(missing(case)) or "nothing",
        "recovery": table_value(recovery.select(list(_RECOVERY)).rename_columns(list(_RECOVERY.values()))),
        "detection": table_value(detection.select(["method", "auc", "precision_at_n", "precision", "recall"])),
        "ask": sql_command(f"SELECT * FROM recovery WHERE case_id = '{case.id}'"),
        **selected.metrics,
        **numbers,
        **doubtful,
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


def _verdict(case: Case) -> Measures:
    """The gate's verdict on the model, and that on the next training with the patch."""
    verdicts, judged = gate_verdicts(case), summary(case)
    patched = patch_verdict(case.layout, case.id) if case.spec.patch else None
    reasons = {_key(row["failure_group"], "reason"): row["reason"] for row in verdicts}
    return {
        "headline": ". ".join([plain(judged.verdict), *reasons.values()]),
        "verdict": judged.verdict,
        **reasons,
        **judged.metrics,
        **({"next_training": plain(patched["verdict"]), "next_training_reason": patched["reason"]} if patched else {}),
        "explain": command(f"repair explain {case.id}"),
        "review": command(f"repair review {case.id}"),
        "open_report": command(f"repair report {case.id} --open"),
        "ask": sql_command(f"SELECT * FROM verdicts WHERE case_id = '{case.id}'"),
    }


def _patch(case: Case) -> Measures:
    patch, pairs = _table(case, "patch"), case.layout.table("pairs", case.id)
    actions = Counter(patch["action"].to_pylist())
    listed = ", ".join(f"{number:,} to {action}" for action, number in actions.items())
    return {
        "headline": f"{len(patch):,} rows: {listed or 'none'}",
        **actions,
        **(pictures.pair_pictures(case.first_view) if pairs.exists() else {}),
        "dagster/row_count": len(patch),
        "review": command(f"repair review {case.id}"),
        "apply": command(f"repair patch apply {case.id}"),
        "ask": sql_command(f"SELECT * FROM patch WHERE case_id = '{case.id}' ORDER BY rank"),
        "csv": dg.MetadataValue.path(case.layout.patch(case.id, "patch.csv")),
    }


def _report(case: Case) -> Measures:
    report = case.layout.report(case.id)
    return {
        "headline": f"one page, {report.stat().st_size / 1e6:.1f} MB",
        "open": command(f"repair report {case.id} --open"),
        "file": dg.MetadataValue.path(report),
    }


def _tracked_run(case: Case) -> Measures:
    run = json.loads(case.layout.tracked_run(case.id).read_text(encoding="utf-8"))
    return {
        "headline": f"MLflow run {run['run_id'][:8]}",
        **links(case),
        "mlflow_run_id": run["run_id"],
        "repeat": command(f"repair run --from-mlflow {run['run_id']}"),
    }


def _candidate(case: Case) -> Measures:
    candidate = json.loads(case.layout.candidate(case.id).read_text(encoding="utf-8"))
    return {
        "headline": f"{candidate['name']}, version {candidate['version']}",
        **{key: value for key, value in candidate.items() if value is not None},
        "mlflow_model": dg.MetadataValue.url(model_url(candidate["name"], candidate["version"])),
        "promote": command(f"repair promote {candidate['name']}"),
    }


_MEASURES: Mapping[str, Callable[[Case], Measures]] = {
    "corrupted_dataset": _corrupted_dataset,
    "base_model": _base_model,
    "fisher_diagonal": _fisher_diagonal,
    "failure_partition": _failure_partition,
    "influence": _influence,
    "repaired_models": _repaired_models,
    "evaluation": _evaluation,
    "verdict": _verdict,
    "patch": _patch,
    "report": _report,
    "tracked_run": _tracked_run,
    "candidate": _candidate,
}


def _table(case: Case, name: str) -> pa.Table:
    return read_parquet(case.layout.table(name, case.id))[0]


def _cost(notes: Notes) -> Measures:
    return {"seconds": notes["seconds"], "device": notes["device"]}
