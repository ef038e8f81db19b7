"""The report: the verdict first, for every reader, on every screen, on paper."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from repair_pipeline_tests.e2e.site import Site
from repair_pipeline_tests.reporting.made_up import MadeUp

pytestmark = pytest.mark.e2e


@pytest.fixture
def report(page: Page, site: Site) -> Page:
    page.goto(site.layout.report(site.by_shell).as_uri())
    return page


def test_the_report_begins_with_the_verdict(report: Page, site: Site, photograph: Callable[[str], None]) -> None:
    expect(report.get_by_role("heading", level=1)).to_have_text(site.by_shell)
    first = report.get_by_role("main").get_by_role("heading").first
    expect(first).to_have_id("verdict")
    expect(first).not_to_be_empty()
    assert first.bounding_box()["y"] < report.viewport_size["height"] / 2
    photograph("report")


def test_each_picture_of_the_report_says_what_it_shows(report: Page) -> None:
    pictures = report.get_by_role("img").all()
    assert len(pictures) >= 3
    unnamed = "shown => !(shown.getAttribute('alt') || shown.getAttribute('aria-label') || '').trim()"
    assert [
        picture.evaluate("shown => shown.outerHTML")[:80] for picture in pictures if picture.evaluate(unnamed)
    ] == []


def test_the_report_fits_a_telephone(report: Page, photograph: Callable[[str], None]) -> None:
    report.set_viewport_size({"width": 390, "height": 844})
    beyond = report.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert beyond == 0
    photograph("report-telephone")


def test_the_report_prints(report: Page) -> None:
    printed = report.pdf(format="A4")
    assert printed.startswith(b"%PDF")
    assert len(printed) > 50_000  # pictures and all
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) <= 4


@pytest.fixture
def known(page: Page, tmp_path: Path) -> Page:
    """The report on a case with known numbers."""
    file = tmp_path / "report.html"
    file.write_text(MadeUp(tmp_path / "home", planted=False, gate={}).written().html, encoding="utf-8")
    page.goto(file.as_uri())
    return page


def test_a_heading_sorts_its_table_within_each_group(known: Page) -> None:
    table = known.locator("#trade_off-table")
    values = "rows => rows.map(row => row.cells.length > 1 ? Number(row.cells[3].textContent) : row.textContent)"
    heading = table.get_by_role("button", name="Holdout")
    as_written = table.locator("tbody tr").evaluate_all(values)
    groups = [[]]
    for each in as_written:
        if isinstance(each, str):
            groups.append([each])
        else:
            groups[-1].append(each)
    for order, down in (("descending", True), ("ascending", False), ("descending", True)):
        heading.press("Enter")  # from the keyboard, too
        expect(table.locator("th[aria-sort]")).to_have_attribute("aria-sort", order)
        expected = [each for head, *rows in groups[1:] for each in (head, *sorted(rows, reverse=down))]
        assert table.locator("tbody tr").evaluate_all(values) == expected
    assert expected != as_written


def test_text_is_sorted_from_a_and_numbers_within_it_by_size(known: Page) -> None:
    table = known.get_by_role("region", name="Patch table")
    for down in (False, True):
        table.get_by_role("button", name="Row").click()
        numbers = [[*map(int, re.findall(r"\d+", cell))] for cell in table.locator("tbody th").all_text_contents()]
        assert numbers == sorted(numbers, reverse=down)
        assert len(numbers) == 10


def test_the_report_is_dark_where_the_reader_asks_for_it(known: Page) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    known.emulate_media(color_scheme="light")
    assert known.evaluate(ground) == "rgb(255, 255, 255)"
    known.emulate_media(color_scheme="dark")
    assert known.evaluate(ground) == "rgb(20, 25, 30)"
    known.emulate_media(color_scheme="dark", media="print")
    assert known.evaluate(ground) == "rgb(255, 255, 255)"


def test_the_report_prints_on_four_pages(known: Page) -> None:
    assert 1 < len(re.findall(rb"/Type\s*/Page\b", known.pdf(format="A4"))) <= 4


def test_a_request_to_elsewhere_would_be_noticed(page: Page, elsewhere: list[str]) -> None:
    with page.expect_event("requestfailed"):
        page.set_content("<img src='http://somewhere.invalid/picture.png'>")
    assert elsewhere == ["http://somewhere.invalid/picture.png"]
    elsewhere.clear()
