"""A case as one HTML file that needs nothing but itself."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from repair_pipeline.reporting.evidence import Evidence, Row, read_evidence
from repair_pipeline.reporting.figures import pictures
from repair_pipeline.reporting.gallery import are_images, most_and_least_harmful
from repair_pipeline.reporting.picture import Picture, svg
from repair_pipeline.reporting.verdict import verdict
from repair_pipeline.reporting.words import KINDS, METHODS, in_words, kind, short_name, signed
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import CorruptedDataset, TestPartition

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"signed": signed, "short_name": short_name, "in_words": in_words}


def render_report(layout: Layout, case_id: str, data: CorruptedDataset, partition: TestPartition) -> str:
    """The report on a case, from its tables."""
    evidence = read_evidence(layout, case_id, data, partition)
    return _TEMPLATES.get_template("report.html.jinja").render(
        evidence=evidence,
        verdict=verdict(evidence),
        pictures={name: _image(name, picture) for name, picture in pictures(evidence).items()},
        recovery={said: [row for row in evidence.recovery if kind(row) == of] for of, said in KINDS.items()},
        extremes={} if evidence.scores is None or are_images(data.fit.examples) else _extremes(evidence),
        methods=METHODS,
        spec=yaml.safe_dump(dict(evidence.spec), sort_keys=False, default_flow_style=None, allow_unicode=True),
        queries=queries(evidence),
    )


def queries(evidence: Evidence) -> dict[str, str]:
    """SQL that a reader may go on with, by what it answers."""
    case_id = evidence.case["case_id"]
    return {
        "The rows that harm most": (
            "SELECT rank, example_id, influence, label, clean_label, corrupted FROM influence "
            f"JOIN examples USING (case_id, example_id) WHERE case_id = '{case_id}' "
            f"AND method = '{evidence.method or 'ewc'}' ORDER BY rank LIMIT 20"
        ),
        "What each treatment came to": (
            "SELECT influence_method, treatment, removed, holdout_accuracy, remaining_accuracy FROM recovery "
            f"WHERE case_id = '{case_id}'"
        ),
        "The same treatments over all cases of this data set": (
            "SELECT influence_method, treatment, count(*) AS cases, avg(holdout_accuracy) AS holdout, "
            "avg(remaining_accuracy) AS remaining FROM recovery JOIN cases USING (case_id) "
            f"WHERE dataset = '{evidence.case['dataset']}' GROUP BY ALL ORDER BY holdout DESC"
        ),
    }


def _image(name: str, picture: Picture) -> Markup:
    """An inline SVG of its own."""
    width, height = (round(96 * inches) for inches in picture.figure.get_size_inches())
    return Markup('<img src="data:image/svg+xml;base64,{}" width="{}" height="{}" alt="{}">').format(
        base64.b64encode(svg(name, picture)).decode(), width, height, picture.says
    )


def _extremes(evidence: Evidence) -> dict[str, list[Row]]:
    """Where inputs are no images: the rows that the galleries would show."""
    assert evidence.scores is not None
    fit, names, values = evidence.data.fit, evidence.data.classes, evidence.scores.values

    def row(at: int) -> dict[str, Any]:
        return {
            "example_id": fit.examples.ids[at],
            "given": names[fit.examples.labels[at]],
            "true": names[fit.clean_labels[at]],
            "planted": bool(fit.corrupted[at]),
            "influence": values[at].item(),
        }

    most, least = most_and_least_harmful(evidence)
    return {"Most harmful": [row(at) for at in most], "Least harmful": [row(at) for at in least]}
