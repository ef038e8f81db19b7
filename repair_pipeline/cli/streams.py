"""Standard streams whose encoding is not UTF-8."""

from __future__ import annotations

import codecs
import io
import sys


def replace_unencodable() -> None:
    """Let the standard streams write ``?`` where their encoding lacks a character, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _may_fail(stream):  # a test or a host program may have replaced it
            stream.reconfigure(errors="replace")


def _may_fail(stream: io.TextIOWrapper) -> bool:
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8)
