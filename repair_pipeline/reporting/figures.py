"""The pictures of a case, by name."""

from __future__ import annotations

from matplotlib.figure import Figure

from repair_pipeline.reporting import charts, gallery, scatter, test_rows
from repair_pipeline.reporting.evidence import Evidence, read_evidence
from repair_pipeline.reporting.picture import Picture, look
from repair_pipeline.storage.layout import Layout
from repair_pipeline.types import CorruptedDataset, TestPartition


def case_figures(layout: Layout, case_id: str, data: CorruptedDataset, partition: TestPartition) -> dict[str, Figure]:
    """The figures of a case by short name, as far as its tables and its kind of input allow them."""
    evidence = read_evidence(layout, case_id, data, partition)
    return {name: picture.figure for name, picture in pictures(evidence).items()}


def pictures(evidence: Evidence) -> dict[str, Picture]:
    """The same figures, each with its alt text and numbers."""
    fit, images = evidence.data.fit, gallery.are_images(evidence.data.fit.examples)
    with look():
        drawn = {"failure_classes": charts.failure_classes(evidence)}
        if images:
            drawn["failures"] = gallery.failures(evidence)
            if repeated := test_rows.duplicates(evidence):
                drawn["near_duplicates"] = repeated
        if evidence.curve:
            drawn["detection_curve"] = charts.detection_curve(evidence)
        if evidence.scores is not None:
            drawn["influence_histogram"] = charts.influence_histogram(evidence)
            if images:
                most, least = gallery.most_and_least_harmful(evidence)
                drawn["most_harmful"] = gallery.training_rows(evidence, most, f"The {len(most)} most harmful rows")
                drawn["least_harmful"] = gallery.training_rows(evidence, least, f"The {len(least)} least harmful rows")
        if evidence.recovery:
            drawn["trade_off"] = scatter.trade_off(evidence)
        if bool((fit.examples.labels != fit.clean_labels).any()):
            drawn["label_noise"] = charts.label_noise(evidence)
    return drawn
