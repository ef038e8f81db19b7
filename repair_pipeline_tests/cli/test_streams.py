"""Output streams whose encoding is not UTF-8."""

import io
import os
import subprocess
import sys

import pytest

from repair_pipeline.cli.streams import replace_unencodable


@pytest.mark.parametrize(
    ("encoding", "form", "shown"),
    [
        ("ascii", "table", " Zürich → [b] "),
        ("latin-1", "csv", "Zürich → [b]\n"),
        ("ascii:surrogateescape", "json", r"Z\u00fcrich \u2192 [b]"),
    ],
)
def test_characters_that_the_encoding_lacks_are_replaced(tmp_path, encoding, form, shown):
    sql = "SELECT 'Zürich → [b]' AS t"
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "REPAIR_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "repair_pipeline.cli.main", "query", sql, "--format", form]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    codec = encoding.partition(":")[0]
    assert done.returncode == 0, done.stderr.decode()
    assert shown.encode(codec, errors="replace") in done.stdout


@pytest.mark.parametrize(
    ("encoding", "errors", "after"),
    [
        ("ascii", "strict", "replace"),
        ("utf-8", "strict", "replace"),  # UTF-8 cannot encode the surrogates that stand for bytes of file names
        ("ascii", "surrogateescape", "replace"),
        ("utf-8", "surrogateescape", "surrogateescape"),
        ("ascii", "backslashreplace", "backslashreplace"),
    ],
)
def test_a_stream_that_cannot_fail_is_unchanged(monkeypatch, encoding, errors, after):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    replace_unencodable()
    print("a\udcff→", flush=True)
    assert stream.errors == after
