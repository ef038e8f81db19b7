"""The fenced blocks of the documentation, and what a reader is to do with each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
RUN = ("sh", "python", "diff")
"""Typed into a shell, run as a program, applied to the files."""
SHOWN = ("text", "sql", "yaml", "toml", "ini")
"""Only shown; a ``text`` block is what the block above it prints."""
NOT_RUN = {
    "docs/results": "measured once, over hours; the page says where and when",
    "docs/examples": "measured once, over minutes; the page says where and when",
}
"""Folders whose commands no test runs, and why."""
_MARK = re.compile(r'(?P<word>skip|file)="(?P<says>[^"]+)"')


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    language: str
    content: str
    skip: str | None = None
    """Why no test runs it: ```sh skip="starts servers"."""
    file: str | None = None
    """The file that it is to be saved as: ```python file="my_model.py"."""

    @property
    def place(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def put(table: str, page: Path, name: str) -> None:
    """Put a table into a page, between the marks ``<!-- name -->`` and ``<!-- end of name -->``."""
    begin, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n{table}{end}{after}", encoding="utf-8")


def pages() -> list[Path]:
    """README.md and every page of the site."""
    found = sorted(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)
    return [ROOT / "README.md", *found]


def blocks(page: Path) -> Iterator[Block]:
    """The page's blocks in order; those that the site itself interprets are none.

    Raises:
        ValueError: a block's language or mark is not one that is known here.
    """
    for token in MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8")):
        language, _, rest = token.info.strip().partition(" ")
        if token.type != "fence" or language.startswith("{"):
            continue
        mark = _MARK.fullmatch(rest)
        block = Block(
            page, (token.map or [0])[0] + 1, language, token.content, **{mark["word"]: mark["says"]} if mark else {}
        )
        if language not in RUN + SHOWN or (rest and not mark):
            raise ValueError(
                f'{block.place}: ```{token.info}: write {", ".join(RUN + SHOWN)}, skip="why" or file="name"'
            )
        yield block
