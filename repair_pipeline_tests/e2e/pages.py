"""Where a user finds things on Dagster's and MLflow's pages: what their next versions may move stands here alone."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

MINUTES = 240_000
"""Milliseconds that a case may take."""


def _ends_with(name: str) -> re.Pattern[str]:
    """A name on Dagster's pages, which say it twice, the first time shortened."""
    return re.compile(rf"(^|\s){re.escape(name)}$")


@dataclass(frozen=True)
class Dagster:
    """Dagster's pages."""

    page: Page
    start: str
    """The lineage, which is what ``repair ui`` names."""

    def open_lineage(self) -> None:
        self.page.goto(self.start)

    def in_tree(self, name: str) -> Locator:
        """An asset in the list beside the graph."""
        return self.page.get_by_role("button", name=_ends_with(name))

    def in_graph(self, asset: str) -> Locator:
        """An asset as a node of the graph."""
        return self.page.locator("svg").get_by_text(asset, exact=True)

    def open_asset(self, asset: str) -> None:
        """From the lineage, by a click on the asset."""
        self.in_tree(asset).click()
        expect(self.page.get_by_role("heading", name=asset, exact=True)).to_be_visible()
        self.page.get_by_role("link", name="View in Asset Catalog").click()
        expect(self.tab("Partitions")).to_be_visible()

    def go_to_asset(self, asset: str) -> None:
        self.page.goto(self.start.replace("/asset-groups", f"/assets/{asset}"))

    def tab(self, name: str) -> Locator:
        return self.page.get_by_role("tab", name=name, exact=True)

    def choose_partition(self, key: str) -> None:
        """On an asset's page."""
        self.tab("Partitions").click()
        self.page.get_by_placeholder("Filter by name").fill(key)
        self.page.get_by_text(_ends_with_the_end_of(key)).filter(visible=True).first.click()
        expect(self.page.get_by_text("Materialized", exact=True)).to_be_visible()

    def metadata(self, key: str) -> Locator:
        """The value of an entry of a materialisation."""
        named = self.page.get_by_role("cell", name=key, exact=True)
        return self.page.get_by_role("row").filter(has=named).first.get_by_role("cell").nth(1)

    def picture(self, key: str) -> Locator:
        """The picture of an entry, which opens at a click."""
        self.metadata(key).get_by_text("Show Markdown").click()
        return self.page.get_by_role("dialog").get_by_role("img", name=key)

    def launch(self, job: str, partition: str) -> None:
        """A run of a job for one partition, launched by hand; its page is open then."""
        self._choose(job, partition, partition)
        self.page.get_by_role("dialog").get_by_role("button", name="Launch 1 run").click()
        self.page.locator("a[href^='/runs/']").first.click()

    def backfill(self, job: str, partitions: str) -> Locator:
        """A run of a job for each partition named like this, launched by hand; what their page counts of them."""
        self._choose(job, partitions, re.compile("^Select all"))
        with self.page.expect_response(lambda answer: "mutation Launch" in (answer.request.post_data or "")):
            self.page.get_by_role("dialog").get_by_role("button", name="Launch backfill").click()
        self.page.goto(self.start.replace("/asset-groups", "/runs"))
        self.page.locator("a[href^='/runs/b/']").first.click()
        return self.page.get_by_role("row").filter(has=self.page.get_by_role("link", name=job, exact=True))

    def _choose(self, job: str, partitions: str, item: str | re.Pattern[str]) -> None:
        """The dialog that launches a job, with partitions chosen."""
        page = self.page
        self.open_lineage()
        page.get_by_role("link", name="Jobs").click()
        page.get_by_role("link", name=re.compile(rf"\b{job}\b(?!_)")).click()
        page.get_by_role("button", name="Materialize all").click()
        page.get_by_role("dialog").get_by_text("Select a partition").click()
        page.get_by_placeholder("Filter partitions").fill(partitions)
        page.get_by_role("menuitem", name=item).first.click()
        page.keyboard.press("Escape")

    @property
    def status(self) -> Locator:
        """How a run has ended."""
        return self.page.get_by_text(re.compile("^(Success|Failure|Canceled)$")).first

    def wait_for_the_end(self) -> None:
        self.status.wait_for(timeout=MINUTES)

    @property
    def succeeded_checks(self) -> Locator:
        """The checks of an asset that have passed, on their tab."""
        return self.page.get_by_text("Succeeded", exact=True)


def _ends_with_the_end_of(key: str) -> re.Pattern[str]:
    return re.compile(rf"{re.escape(key[-8:])}$")  # a long key is shortened in its middle


@dataclass(frozen=True)
class MLflow:
    """MLflow's pages."""

    page: Page
    start: str
    """The experiments, which is what ``repair ui`` names."""

    def open_runs(self, experiment: str) -> None:
        """The runs of an experiment, past what MLflow puts before them: advice, an assistant, pages for traces."""
        page = self.page
        for advice in ("Got it", "Close"):
            offered = page.get_by_role("button", name=advice, exact=True)
            page.add_locator_handler(offered, lambda shown: shown.click())
        page.goto(self.start)
        page.get_by_role("link", name=experiment, exact=True).first.click()
        page.get_by_role("button", name="Model training").click()
        page.get_by_role("navigation").get_by_role("link", name="Runs", exact=True).click()

    def run(self, name: str | re.Pattern[str]) -> Locator:
        """A run in the list."""
        return self.page.get_by_role("row").get_by_role("link", name=name)

    def unfold(self, run: str) -> None:
        """Show a run's children."""
        self._row(self.run(run)).get_by_role("button").first.click()

    def select(self, run: Locator) -> None:
        box = self.page.locator(f"[row-id='{self._row(run).get_attribute('row-id')}']")
        box.get_by_role("checkbox", name="toggle row selection").first.check()

    def compare(self) -> None:
        self.page.get_by_role("button", name="Compare").click()

    def scatter(self, x: str, y: str) -> Locator:
        """The scatter plot of the runs that are compared, on the axes chosen."""
        page = self.page
        page.get_by_role("tab", name="Scatter Plot").click()
        plot = page.get_by_role("tabpanel", name="Scatter Plot")
        for axis, quantity in (("X-axis", x), ("Y-axis", y)):
            plot.get_by_role("combobox", name=axis).click()
            page.get_by_role("option", name=quantity, exact=True).click()
        return plot

    @staticmethod
    def _row(run: Locator) -> Locator:
        return run.locator("xpath=ancestor::*[@role='row'][1]")
