"""A browser, the pages it opens, and a watch on what else it asks for."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from repair_pipeline_tests.e2e.pages import Dagster
from repair_pipeline_tests.e2e.site import Site, serving

PICTURES = os.environ.get("REPAIR_SCREENSHOTS")
"""The folder where screenshots go, of the presets themselves; none are taken where it is not given."""

_PATIENCE = 120_000
"""Milliseconds: a page that waits for a server beside a busy machine."""
_ELSEWHERE = re.compile(r"^(https?|wss?)://(?!127\.0\.0\.1[:/])")

expect.set_options(timeout=_PATIENCE)


def _chromium() -> str | None:
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Fail at once where browser tests are asked for and there is no browser: a skipped test proves nothing."""
    if _chromium() is None and any(item.get_closest_marker("e2e") for item in session.items):
        raise pytest.UsageError("there is no chromium for the browser tests: apt-get install chromium")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with serving(tmp_path_factory.mktemp("home"), whole=PICTURES is not None) as site:
        yield site


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_chromium())
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def elsewhere() -> list[str]:
    """Requests that were not for this machine; each was refused."""
    return []


@pytest.fixture(scope="session")
def new_page(browser: Browser, elsewhere: list[str]) -> Callable[[], Page]:
    """Opens a page in a browser that has seen none before."""

    def refuse(route: Route) -> None:
        elsewhere.append(route.request.url)
        route.abort()

    def opened() -> Page:
        context = browser.new_context(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        context.set_default_timeout(_PATIENCE)
        context.route(_ELSEWHERE, refuse)
        return context.new_page()

    return opened


@pytest.fixture
def page(new_page: Callable[[], Page], elsewhere: list[str]) -> Iterator[Page]:
    """A page that may ask this machine alone."""
    page = new_page()
    yield page
    page.context.close()
    assert elsewhere == []


@pytest.fixture(scope="session")
def launched(new_page: Callable[[], Page], site: Site) -> str:
    """The address of the run that the page has launched, once it has ended."""
    page = new_page()
    dagster = Dagster(page, site.dagster)
    dagster.launch("repair", site.by_page)
    dagster.wait_for_the_end()
    address = page.url
    page.context.close()
    return address


@pytest.fixture
def photograph(page: Page) -> Callable[[str], None]:
    """Keeps what the page looks like in a small file, where screenshots are asked for."""

    def taken(name: str) -> None:
        if PICTURES is not None:
            path = Path(PICTURES) / f"{name}.png"
            page.screenshot(path=path, animations="disabled")
            Image.open(path).convert("RGB").quantize(128).save(path, optimize=True)

    return taken
