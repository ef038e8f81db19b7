"""What standard streams can and may show: characters that their encoding lacks, and those that command a terminal."""

from __future__ import annotations

import codecs
import io
import re
import sys


def replace_unencodable() -> None:
    """Let the standard streams write ``?`` where their encoding lacks a character, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and _may_fail(stream):  # a test or a host program may have replaced it
            stream.reconfigure(errors="replace")


_COMMANDS = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of text."""


def printable(text: str, keep: str = "") -> str:
    """The text with the characters that a terminal obeys instead of showing them as escapes, such as ``\\x1b``.

    Args:
        text: from a user's data.
        keep: characters that are not escaped.
    """
    return _COMMANDS.sub(
        lambda found: found[0] if found[0] in keep else found[0].encode("unicode_escape").decode(), text
    )


def _may_fail(stream: io.TextIOWrapper) -> bool:
    utf8 = codecs.lookup(stream.encoding).name == "utf-8"
    return stream.errors == "strict" or (stream.errors == "surrogateescape" and not utf8)
