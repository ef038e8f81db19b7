"""Dagster's pages: a case is launched by hand, its lineage and its assets are read."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from repair_pipeline.defs.assets.checks import checks
from repair_pipeline.defs.assets.lineage import EVERY, LINEAGE
from repair_pipeline.storage.schemas import TABLES
from repair_pipeline.storage.views import query
from repair_pipeline_tests.e2e.pages import MINUTES, Dagster
from repair_pipeline_tests.e2e.site import SEEDS, Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def dagster(page: Page, site: Site) -> Dagster:
    return Dagster(page, site.dagster)


def test_a_case_launched_from_the_page_succeeds(
    dagster: Dagster, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    dagster.page.goto(launched)
    expect(dagster.status).to_have_text("Success")
    expect(dagster.page.get_by_text(f"partition: {site.by_page}")).to_be_visible()
    expect(dagster.page.get_by_text("No steps have errored")).to_be_visible()
    expect(dagster.page.get_by_text(f"Succeeded ({len(LINEAGE)})", exact=True)).to_be_visible()
    made = query(site.layout, f"SELECT count(DISTINCT step) AS n FROM timings WHERE case_id = '{site.by_page}'")
    assert made.to_pylist()[0]["n"] > 5
    photograph("dagster-run")


def test_a_backfill_runs_the_job_study_for_every_seed(
    dagster: Dagster, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    counts = dagster.backfill("study", SEEDS)
    expect(counts.get_by_text("100% completed")).to_be_visible(timeout=2 * MINUTES)
    targeted, unfinished, succeeded, failed = counts.get_by_role("cell").all_inner_texts()[1:]
    assert (targeted, unfinished, succeeded, failed) == ("2", "0", "2", "0")
    photograph("dagster-backfill")
    made = query(site.layout, "SELECT DISTINCT case_id, status FROM recovery JOIN cases USING (case_id)").to_pylist()
    assert {row["case_id"]: row["status"] for row in made}.items() >= dict.fromkeys(site.seeds, "finished").items()


def test_the_lineage_shows_every_asset_on_one_screen(
    dagster: Dagster, launched: str, photograph: Callable[[str], None]
) -> None:
    dagster.page.set_viewport_size({"width": 1366, "height": 768})
    dagster.open_lineage()
    for asset in EVERY:
        expect(dagster.in_graph(asset.name)).to_be_in_viewport(ratio=1)
    photograph("dagster-lineage")


def test_a_click_on_an_asset_opens_its_page(dagster: Dagster) -> None:
    dagster.open_lineage()
    dagster.open_asset("influence")
    expect(dagster.page).to_have_url(re.compile("/assets/influence"))
    expect(dagster.page.get_by_text("Positive is harmful").first).to_be_visible()


def test_the_scores_of_a_case_are_told_on_their_page(
    dagster: Dagster, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    dagster.go_to_asset("influence")
    dagster.choose_partition(site.by_page)
    where = f"WHERE case_id = '{site.by_page}'"
    [rows] = query(site.layout, f"SELECT count(*) AS n FROM influence {where}").to_pylist()
    [detection] = query(site.layout, f"SELECT auc FROM detection {where} AND method = 'ewc'").to_pylist()
    expect(dagster.metadata("dagster/row_count")).to_have_text(str(rows["n"]))
    assert float(dagster.metadata("auc_ewc").inner_text()) == pytest.approx(detection["auc"])
    expect(dagster.metadata("headline")).to_contain_text(f"ewc finds the planted rows with AUC {detection['auc']:.3f}")
    for method in ("ewc", "random"):
        expect(dagster.page.get_by_role("cell", name=method, exact=True).first).to_be_visible()
    photograph("dagster-asset")

    asked = re.fullmatch(r'repair query "(.+)"', dagster.metadata("ask").inner_text().strip())
    assert asked is not None
    assert len(query(site.layout, asked[1])) == 2 * 20

    dagster.tab("Overview").click()
    for column in TABLES["influence"]:
        expect(dagster.page.get_by_role("cell", name=column.name, exact=True)).to_be_visible()

    [influence] = [asset for asset in EVERY if asset.name == "influence"]
    dagster.tab("Checks").click()
    expect(dagster.succeeded_checks).to_have_count(len(checks(influence)))


def test_the_evaluation_sets_repairs_beside_controls(
    dagster: Dagster, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    dagster.go_to_asset("evaluation")
    dagster.choose_partition(site.by_page)
    recovery = query(site.layout, f"SELECT * FROM recovery WHERE case_id = '{site.by_page}'").to_pylist()
    expect(dagster.metadata("dagster/row_count")).to_have_text(str(len(recovery)))
    table = dagster.page.get_by_role("table").filter(has=dagster.page.get_by_role("columnheader", name="holdout")).last
    expect(table.get_by_role("row")).to_have_count(1 + len(recovery))
    expect(table.get_by_role("columnheader", name="remaining")).to_be_visible()
    [repaired] = [row for row in recovery if (row["influence_method"], row["treatment"]) == ("ewc", "finetune")]
    row = table.get_by_role("row").filter(has=dagster.page.get_by_role("cell", name="ewc", exact=True))
    row = row.filter(has=dagster.page.get_by_role("cell", name="finetune", exact=True))
    expect(row).to_contain_text(f"{round(repaired['holdout_accuracy'], 4):g}")
    expect(row).to_contain_text(f"{round(repaired['remaining_accuracy'], 4):g}")
    photograph("dagster-evaluation")


def test_an_asset_shows_pictures(
    dagster: Dagster, site: Site, launched: str, photograph: Callable[[str], None]
) -> None:
    dagster.go_to_asset("influence")
    dagster.choose_partition(site.by_page)
    picture = dagster.picture("detection_curve")
    expect(picture).to_have_attribute("src", re.compile("^data:image/png;base64,"))
    expect(picture).to_be_visible()
    assert picture.evaluate("shown => shown.naturalWidth") > 200
    photograph("dagster-picture")
