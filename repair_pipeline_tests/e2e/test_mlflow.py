"""MLflow's pages: cases with their methods below them, and repairs compared."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from repair_pipeline.settings import read_settings
from repair_pipeline.storage.views import query
from repair_pipeline_tests.e2e.pages import MLflow
from repair_pipeline_tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_repairs_are_compared_on_holdout_against_remaining(
    page: Page, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    mlflow = MLflow(page, site.mlflow)
    mlflow.open_runs(read_settings().mlflow_experiment)
    for case in (site.by_shell, site.by_page):
        expect(mlflow.run(case).first).to_be_visible()
    mlflow.unfold(site.by_shell)
    repairs = mlflow.run(re.compile(r"finetune"))
    expect(mlflow.run(re.compile(r"ewc.*finetune"))).to_be_visible()
    photograph("mlflow-runs")

    where = f"case_id = '{site.by_shell}' AND treatment = 'finetune'"
    made = query(site.layout, f"SELECT holdout_accuracy FROM recovery WHERE {where}").to_pylist()
    expect(repairs).to_have_count(len(made))
    for repair in repairs.all():
        mlflow.select(repair)
    mlflow.compare()
    expect(page.get_by_role("heading", name=f"Comparing {len(made)} Runs")).to_be_visible()
    plot = mlflow.scatter(x="remaining_accuracy", y="holdout_accuracy")
    for axis in ("remaining_accuracy", "holdout_accuracy"):
        expect(plot.locator("svg").get_by_text(axis)).to_be_visible()
        expect(page.get_by_role("link", name=axis)).to_be_visible()
    for row in made:
        expect(page.get_by_text(f"{round(row['holdout_accuracy'], 3):g}", exact=True).first).to_be_attached()
    photograph("mlflow-comparison")
