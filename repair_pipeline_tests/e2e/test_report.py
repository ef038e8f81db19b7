"""The report: the verdict first, for every reader, on every screen, on paper."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from repair_pipeline_tests.e2e.site import Site

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


def test_a_request_to_elsewhere_would_be_noticed(page: Page, elsewhere: list[str]) -> None:
    with page.expect_event("requestfailed"):
        page.set_content("<img src='http://somewhere.invalid/picture.png'>")
    assert elsewhere == ["http://somewhere.invalid/picture.png"]
    elsewhere.clear()
