"""The report on a case, as one self-contained HTML file."""

from __future__ import annotations

import base64
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import yaml
from jaxtyping import Bool

from repair_pipeline.evaluation.next_training import proven_groups
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.reporting import contact_sheet, gallery, test_rows
from repair_pipeline.reporting.descriptions import KINDS, by_kind, kind
from repair_pipeline.reporting.evidence import Evidence, Row, read_evidence
from repair_pipeline.reporting.figures import pictures
from repair_pipeline.reporting.page import render
from repair_pipeline.reporting.picture import Numbers, description_of, size_of
from repair_pipeline.reporting.slices import about, query_side, slices
from repair_pipeline.reporting.verdict import decisions, verdict
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import CorruptedDataset, TestPartition

PATCH_ROWS = 10
"""Rows of the patch that the report shows."""


def render_report(layout: Layout, case_id: str, data: CorruptedDataset, partition: TestPartition) -> str:
    """The report on a case as HTML, from its stored tables."""
    evidence = read_evidence(layout, case_id, data, partition)
    numbered = list(enumerate(by_kind(evidence.recovery), start=1))
    return render(
        "report.html.jinja",
        evidence=evidence,
        decisions=decisions(evidence),
        verdict=verdict(evidence),
        pictures=pictures(evidence),
        recovery={title: [(mark, row) for mark, row in numbered if kind(row) == name] for name, title in KINDS.items()},
        extremes={} if evidence.scores is None else _extremes(evidence),
        failures=gallery.listed_failures(evidence),
        slices=_slices(evidence),
        doubts=Doubts.of(evidence),
        patch=Patch.of(layout, evidence),
        sheet=None if evidence.contact_sheet is None else Sheet.of(evidence.contact_sheet),
        opposing=contact_sheet.listed(evidence),
        methods={name: method.line for name, method in METHODS.items()},
        spec=yaml.safe_dump(dict(evidence.spec), sort_keys=False, default_flow_style=None, allow_unicode=True),
        queries=queries(evidence),
    )


@dataclass(frozen=True)
class Doubts:
    """What the report says of the test rows that are weak evidence."""

    duplicates: int
    labels: int
    held_out: dict[str, int]
    """Number of rows in holdout and remaining, on which the gate judges, by reason."""
    left_out: tuple[str, ...]
    """Reasons for which the gate leaves rows out."""
    listed_duplicates: Numbers
    listed_labels: Numbers

    @staticmethod
    def of(evidence: Evidence) -> Doubts:
        """Counts and first rows of ``doubtful_tests``."""
        unseen = [row for row in evidence.doubtful if row["split"] in ("holdout", "remaining")]
        return Doubts(
            len(test_rows.of_reason(evidence, "near_duplicate")),
            len(test_rows.of_reason(evidence, "doubtful_label")),
            dict(Counter(row["reason"] for row in unseen)),
            tuple(evidence.spec.get("leave_out") or ()),
            test_rows.listed_duplicates(evidence),
            test_rows.listed_labels(evidence),
        )


@dataclass(frozen=True)
class Patch:
    """What the report shows of the data set patch."""

    rows: list[Row]
    total: int
    actions: dict[str, int]
    """Number of rows by action."""
    appliable: bool
    """Whether the training data are the user's own file, which the patch can change."""
    proven: bool
    """Whether some of it is proven to help, so that ``patch apply`` follows it."""
    path: str
    """Path of patch.csv below REPAIR_HOME."""
    link: str
    """URL of patch.csv relative to the report."""

    @staticmethod
    def of(layout: Layout, evidence: Evidence) -> Patch:
        """The patch of a case, its first rows in the order of patch.csv."""
        case_id, rows = evidence.case["case_id"], evidence.patch
        path = layout.patch(case_id, "patch.csv")
        return Patch(
            rows[:PATCH_ROWS],
            len(rows),
            dict(Counter(row["action"] for row in rows)),
            "train" in evidence.spec["dataset"],
            bool(proven_groups(evidence.gate, evidence.patch_verdict)),
            str(path.relative_to(layout.home)),
            quote(os.path.relpath(path, layout.report(case_id).parent)),
        )


@dataclass(frozen=True)
class Sheet:
    """The contact sheet as an inline image."""

    source: str
    width: int
    height: int
    alt_text: str

    @staticmethod
    def of(path: Path) -> Sheet:
        """The sheet that the patch step has drawn."""
        source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        width, height = size_of(path)
        return Sheet(source, width, height, description_of(path))


def queries(evidence: Evidence) -> dict[str, str]:
    """Example SQL queries, by title."""
    case_id, dataset = evidence.case["case_id"], evidence.case["dataset"].replace("'", "''")
    return {
        "The most harmful training rows": (
            "SELECT rank, example_id, influence, label, clean_label, corrupted FROM influence "
            f"JOIN examples USING (case_id, example_id) WHERE case_id = '{case_id}' "
            f"AND method = '{evidence.method or 'ewc'}' ORDER BY rank LIMIT 20"
        ),
        "The results of each treatment": (
            "SELECT influence_method, treatment, removed, holdout_accuracy, remaining_accuracy FROM recovery "
            f"WHERE case_id = '{case_id}'"
        ),
        "Mean results of the treatments over all cases of this data set": (
            "SELECT influence_method, treatment, count(*) AS cases, avg(holdout_accuracy) AS holdout, "
            "avg(remaining_accuracy) AS remaining FROM recovery JOIN cases USING (case_id) "
            f"WHERE dataset = '{dataset}' GROUP BY ALL ORDER BY holdout DESC"
        ),
    }


def _slices(evidence: Evidence) -> dict[str, Numbers | None]:
    """What the failures have in common, and what the rows of the patch have; None where that is nothing."""
    rows, failed = query_side(evidence.partition)
    fit = evidence.data.fit.examples
    return {
        "failures": _sliced(about(evidence.data, rows), failed),
        "patch": _sliced(about(evidence.data, fit), fit.having(frozenset(evidence.suggested)).numpy()),
    }


def _sliced(table: pa.Table, marked: Bool[np.ndarray, " n"]) -> Numbers | None:
    found, total = slices(table, marked), int(marked.sum())
    rows = [
        (each.predicate, f"{each.marked} of {total}", each.rows, f"{each.share:.0%}", f"{each.p:.1g}") for each in found
    ]
    return Numbers(("Rows where", "Of them", "All such rows", "Share", "p"), rows) if found else None


def _extremes(evidence: Evidence) -> dict[str, Numbers]:
    """Tables of the rows at both ends of the ranking, by title."""
    most, least = gallery.most_and_least_harmful(evidence)
    return {
        "Most harmful training rows": gallery.listed(evidence, most),
        "Least harmful training rows": gallery.listed(evidence, least),
    }
