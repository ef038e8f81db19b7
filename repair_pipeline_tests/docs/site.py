"""What holds of the built site: `make docs` builds it first."""

from html.parser import HTMLParser

import pytest

from repair_pipeline_tests.docs.pages import ROOT

SITE = ROOT / "docs" / "_build"
PAGES = sorted(page.relative_to(SITE).as_posix() for page in SITE.rglob("*.html"))


class _Resources(HTMLParser):
    """What a browser fetches by itself to show a page."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        said = dict(attrs)
        self.found += [said[key] for key in ("src", "srcset", "data", "poster") if said.get(key)]
        if tag == "link" and said.get("rel") not in ("canonical", "next", "prev", "index", "search"):
            self.found.append(said["href"])


def test_there_is_a_site():
    assert {"index.html", "tutorial.html", "how-to/sql.html"} <= set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_asks_nothing_of_the_network(page):
    resources = _Resources()
    resources.feed((SITE / page).read_text(encoding="utf-8"))
    assert [each for each in resources.found if "//" in each] == []


def test_no_stylesheet_asks_anything_of_the_network():
    asks = [sheet for sheet in SITE.rglob("*.css") if "url(http" in sheet.read_text() or "url(//" in sheet.read_text()]
    assert asks == []
