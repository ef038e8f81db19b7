"""A finished case with known numbers, stored as a run would store it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.reporting.evidence import Evidence, read_evidence
from repair_pipeline.reporting.picture import Picture, canvas, look, png
from repair_pipeline.reporting.report import render_report
from repair_pipeline.storage.files import write_bytes
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.records import (
    fingerprint,
    load_dataset,
    load_partition,
    save_dataset,
    save_partition,
    save_rows,
    save_scores,
)
from repair_pipeline.types import CorruptedDataset, Examples, InfluenceScores, TestPartition, TrainingRows

HOLDOUT, REMAINING, ROWS, PLANTED, PATCHED = 10, 20, 40, 8, 12
CASE_ID = "digits-label_noise-s0"

# influence_method, treatment, removed, corrected of the holdout, kept of the remaining
RECOVERY = [
    (None, "base", 0, 0, 20),
    ("ewc", "finetune", 8, 9, 19),
    ("random", "finetune", 8, 1, 17),
    (None, "finetune", 0, 2, 18),
    ("ewc", "ewc_deletion", 8, 1, 20),
    ("random", "ewc_deletion", 8, 0, 16),
    (None, "reseed", 0, 3, 18),
    (None, "semi_oracle", 8, 10, 20),
]


@dataclass(frozen=True)
class MadeUp:
    """The case and its variants: 40 rows of three classes, 8 of them planted, and 20 failures."""

    home: Path
    planted: bool = True
    images: bool = True
    channels: int = 1
    influence: tuple[str, ...] = ("ewc", "loss", "random", "oracle")
    recovery: tuple[tuple[Any, ...], ...] = tuple(RECOVERY)
    missing: tuple[str, ...] = ()
    classes: tuple[str, ...] = ("cat", "dog", "owl")
    name: str = CASE_ID
    seed: int = 0
    status: str = "finished"
    gate: dict[str, Any] | None = None
    verdict: str = "accepted"
    labels: tuple[str, str] = ("dog", "cat")
    """Given and suggested label of rows of the patch."""
    fewer_paired: Mapping[str, int] = field(default_factory=dict)
    group: str = "all"
    """The failure group. Other than ``all``, it gets a second group that sorts before it."""

    @property
    def layout(self) -> Layout:
        return Layout(self.home)

    @cached_property
    def evidence(self) -> Evidence:
        return read_evidence(self.layout, self.name, self.data, self.partition)

    @cached_property
    def html(self) -> str:
        return render_report(self.layout, self.name, self.data, self.partition)

    @cached_property
    def data(self) -> CorruptedDataset:
        return load_dataset(self.layout.base("b", "dataset.parquet"))

    @cached_property
    def partition(self) -> TestPartition:
        return load_partition(self.layout.table("examples", self.name), self.data.test, self.group)

    def written(self) -> MadeUp:
        """The same case, after its files are written."""
        data = self._dataset()
        save_dataset(self.layout.base("b", "dataset.parquet"), data, dict)
        cuts = np.cumsum([6, 2, HOLDOUT, 20, REMAINING])
        parts = [data.test[slice(a, b)] for a, b in zip([0, *cuts], [*cuts, len(data.test)], strict=True)]
        save_partition(
            self.layout.table("examples", self.name),
            data,
            {self.group: TestPartition(*parts, other_failures=parts[0][:0])},
            {},
            None if self.group == "all" else dict.fromkeys(map(str, data.test.ids), self.group),
        )
        self._save("cases", [self._case(data)])
        for method in self.influence:
            in_names = "" if self.group == "all" else self.group
            save_scores(self.layout.influence(self.name, method, in_names), _scores(data), {}, self.group)
        self._save("detection", [self._detection(at, method) for at, method in enumerate(self.influence)])
        curve = [(0, 0), (10, 6), (ROWS, PLANTED)] if self.planted else []
        at = [(method, *point) for method in self.influence for point in curve]
        self._save("detection_curve", [_row(("method", "inspected", "found"), values) for values in at])
        self._save("recovery", [_recovered(*values) for values in self.recovery], missing=list(self.missing))
        step = {"method": None, "step": "base_model", "seconds": 12.34, "device": "cpu", "threads": 1}
        self._save("timings", [step])
        self._save("groups", [{"rows": 60, "failures": 20, "query": 6, "query_tuning": 2, "holdout": HOLDOUT}])
        if self.gate is not None:
            self._write_gated(parts[0])
        return self

    def _save(self, table: str, rows: list[dict[str, Any]], **notes: Any) -> None:
        filled = [{"failure_group": self.group, **row} for row in rows]
        save_rows(self.layout.table(table, self.name), table, filled, notes)

    def _write_gated(self, query: Examples) -> None:
        self._save("verdicts", [_judged(self.verdict)])
        self._save("doubtful_tests", _doubtful(self.labels))
        rows = [_patched(at, *self.labels) for at in range(PATCHED)]
        self._save("patch", rows)
        pairs = [(failure, row, PATCHED - row - 1.5) for failure in query.ids for row in range(PATCHED)]
        paired = [
            {"failure_id": str(failure), "example_id": f"fit-{row:03d}", "influence": by, "rank": row + 1}
            for failure, row, by in pairs
        ]
        self._save("pairs", paired, fewer=self.fewer_paired)
        with look():
            figure, _ = canvas(2)
        sheet = self.layout.patch(self.name, "contact_sheet.png")
        write_bytes(sheet, png(Picture(figure, "Failure 1, labelled cat, predicted <dog>: given owl.")))

    def _dataset(self) -> CorruptedDataset:
        def examples(part: str, n: int) -> Examples:
            shape = (n, self.channels, 4, 4) if self.images else (n, 5)
            ids = np.array([f"{part}-{at:03d}" for at in range(n)], dtype=np.str_)
            return Examples(
                ids,
                torch.linspace(-0.5, 0.5, n).view(n, *[1] * (len(shape) - 1)).expand(shape).clone(),
                torch.arange(n) % 3,
            )

        def rows(part: str, n: int, planted: int) -> TrainingRows:
            corrupted = torch.arange(n) < planted
            clean = examples(part, n)
            given = torch.where(corrupted, (clean.labels + 1) % 3, clean.labels)
            return TrainingRows(Examples(clean.ids, clean.inputs, given), clean.labels, corrupted)

        mean = torch.full((self.channels,), 0.5)
        fit, validation = rows("fit", ROWS, PLANTED if self.planted else 0), rows("validation", 4, 0)
        return CorruptedDataset(fit, validation, examples("test", 60), self.classes, mean)

    def _case(self, data: CorruptedDataset) -> dict[str, Any]:
        noise = {"rate": 0.2, "confusion": {0: {1: 1.0}, 1: {2: 1.0}, 2: {0: 1.0}}} if self.planted else None
        spec = parse_spec(
            {
                "name": f"digits-label_noise-s{self.seed}",
                "dataset": {"name": "digits", "train_size": 44},
                "corruption": noise,
                "influence": {method: {} for method in self.influence},
                "gate": self.gate,
                "failures": None if self.group == "all" else {"groups": {self.group: "true", "a": "false"}},
                "seed": self.seed,
                "treat": [method for method in ("ewc", "random") if method in self.influence],
            }
        )
        return {
            "base_id": "b", "dataset": "digits", "model": "cnn", "corruption": "label_noise" if noise else None,
            "seed": self.seed, "query_fraction": 1.0, "spec": json.dumps(spec.resolved, sort_keys=True),
            "fingerprint": fingerprint(data), "status": self.status, "created_at": datetime(2026, 1, 2, tzinfo=UTC),
        }  # fmt: skip

    def _detection(self, at: int, method: str) -> dict[str, Any]:
        counts = {"method": method, "n_corrupted": PLANTED if self.planted else 0, "n_causes": 8, "seconds": 0.5}
        ranked = ("auc", "average_precision", "precision_at_n", "precision", "recall")
        values = (0.9375 - 0.125 * at, 0.812, 0.75, 0.75, 0.75) if self.planted else (None,) * 5
        return counts | _row(ranked, values)


def _row(columns: tuple[str, ...], values: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(columns, values, strict=True))


def _scores(data: CorruptedDataset) -> InfluenceScores:
    """Scores 3.05, 2.95, ...: the planted rows rank first."""
    return InfluenceScores(data.fit.examples.ids, 3.05 - 0.1 * torch.arange(ROWS, dtype=torch.float64))


def _judged(verdict: str) -> dict[str, Any]:
    return {
        "judge": "gate", "influence_method": "ewc", "treatment": "finetune", "removed": 8, "verdict": verdict,
        "reason": "Removing 8 training rows fixes 9 of 10 held-out failures.", "fixed": 9, "broken": 1,
        "gain": 0.2667, "gain_low": 0.125, "gain_high": 0.375, "over_control": 0.7, "over_control_low": 0.4,
        "over_control_high": 0.9, "detectable": 0.3, "failures_needed": None, "margin": 0.03,
        "remaining_change": -0.05, "remaining_low": -0.2487, "worst_class": "owl",
        "worst_class_change": -0.25, "class_margin": 0.6, "unjudged": "cat",
    }  # fmt: skip


def _doubtful(labels: tuple[str, str]) -> list[dict[str, Any]]:
    """Two near duplicates, one of them held out, and a held-out failure with a doubtful label."""
    near = [("test-020", "guard", False, 0.25), ("test-009", "holdout", True, 0.125)]
    given = {"label": labels[0]}
    duplicates = [
        {"example_id": name, "split": split, "failed": failed, "closeness": close, "training_row": "fit-003", **given}
        for name, split, failed, close in near
    ]
    label = {"reason": "doubtful_label", "likelier_label": labels[1], "probability": 0.96875, **given}
    doubted = {"example_id": "test-010", "split": "holdout", "failed": True, **label}
    return [{"reason": "near_duplicate", **row} for row in duplicates] + [doubted]


def _patched(at: int, given: str, suggested: str) -> dict[str, Any]:
    """A row of the patch: rows of D to relabel and to drop, in turns."""
    relabel = at % 2 == 0
    return {
        "example_id": f"fit-{at:03d}", "action": "relabel" if relabel else "drop", "influence": 3.05 - 0.1 * at,
        "rank": at + 1, "label": given, "suggested_label": suggested if relabel else None, "failures": "test-000",
        "reason": f"rank {at + 1} of 40 by influence",
    }  # fmt: skip


def _recovered(method: str | None, treatment: str, removed: int, corrected: int, kept: int) -> dict[str, Any]:
    holdout, remaining = corrected / HOLDOUT, kept / REMAINING
    return {
        "influence_method": method, "treatment": treatment, "setting": "{}", "gamma": None, "removed": removed,
        "chosen": True, "query_accuracy": 0.625, "holdout_accuracy": holdout, "remaining_accuracy": remaining,
        "unseen_accuracy": (holdout + 2 * remaining) / 3, "seconds": 1.5,
    }  # fmt: skip
