"""Standard streams whose encoding is not UTF-8."""

from __future__ import annotations

import sys
from typing import TextIO


def replace_what_cannot_be_written() -> None:
    """Let the standard streams write ``?`` where their encoding lacks a character, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if _may_fail(stream):
            stream.reconfigure(errors="replace")  # type: ignore[attr-defined]  # which _may_fail has looked for


def _may_fail(stream: TextIO) -> bool:
    if not hasattr(stream, "reconfigure"):  # a stream that somebody has put in its place
        return False
    utf8 = (stream.encoding or "").lower().replace("_", "-") in ("utf-8", "utf8")
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8)
