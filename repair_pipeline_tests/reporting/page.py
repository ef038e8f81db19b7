"""Parses a page as a screen reader does."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise, takewhile

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """Every tag with its attributes and ancestors, the text, and the cells of each table row."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.within: list[tuple[str, ...]] = []
        """The tags around each tag."""
        self.rows: list[list[str]] = []
        self.headings: list[tuple[int, str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.rows = [[cell.strip() for cell in row] for row in self.rows]

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.within.append(tuple(self._open))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif len(tag) == 2 and tag[0] == "h" and tag[1].isdigit():
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag):
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data
        if any(tag[0] == "h" and tag[1:].isdigit() for tag in self._open):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)

    def all(self, *names: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name in names]

    def row(self, opening: str) -> list[str]:
        return [cell for row in self.rows if row[0].startswith(opening) for cell in row[1:]]

    def require_accessible(self) -> None:
        """Assert landmarks, ordered headings, named regions, and alt text and numbers for every picture."""
        assert [len(self.all(name)) for name in ("main", "header", "h1", "title")] == [1, 1, 1, 1]
        assert self.all("html")[0]["lang"] == "en"
        levels = [level for level, _ in self.headings]
        assert levels[0] == 1
        assert all(b <= a + 1 for a, b in pairwise(levels)), levels
        assert all(text.strip() for _, text in self.headings)
        ids = [attributes["id"] for _, attributes in self.tags if attributes.get("id")]
        assert len(ids) == len(set(ids))
        assert {section["aria-labelledby"] for section in self.all("section")} <= set(ids)
        assert {link["href"][1:] for link in self.all("a") if link["href"].startswith("#")} <= set(ids)
        assert len(self.all("caption")) == len(self.all("table"))
        assert all(head["scope"] in ("col", "row", "rowgroup") for head in self.all("th"))
        assert all(at.get("aria-label") for _, at in self.tags if at.get("role") == "region")
        assert all(
            "label" in around for (name, _), around in zip(self.tags, self.within, strict=True) if name == "input"
        )
        self._require_alt_text_and_numbers(set(ids))

    def _require_alt_text_and_numbers(self, ids: set[str | None]) -> None:
        """Assert that each picture has alt text, and a table after it or one that it refers to."""
        names = [name for name, _ in self.tags]
        for at, (name, attributes) in enumerate(self.tags):
            if name == "img":
                assert len(attributes.get("alt") or "") > 40
                if "aria-details" in attributes:
                    assert attributes["aria-details"] in ids
                else:
                    following = takewhile(lambda name: name not in ("img", "section"), names[at + 1 :])
                    assert {"details", "summary", "table"} <= set(following)

    def require_self_contained(self, html: str) -> None:
        """Assert that the page loads nothing and links only to itself and to files beside it."""
        (policy,) = [meta["content"] for meta in self.all("meta") if meta.get("http-equiv")]
        scripts = [
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)
        ]
        named = f"; script-src {' '.join(scripts)}" if scripts else ""
        assert policy == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{named}"
        assert len(self.all("script")) == len(scripts) <= 1
        assert self.all("script") == [{}] * len(scripts)
        loads = [
            tag[key] for tag in self.all("img", "link", "source", "iframe") for key in ("src", "href") if key in tag
        ]
        assert loads
        assert all(str(value).startswith("data:") for value in loads)
        assert not any("srcset" in attributes or "style" in attributes for _, attributes in self.tags)
        assert not self.all("iframe", "object", "embed", "form", "base")
        assert not any(key.startswith("on") for _, attributes in self.tags for key in attributes)
        assert not any(":" in link["href"] or link["href"].startswith("/") for link in self.all("a"))
        assert "url(" not in html
        assert "@import" not in html
