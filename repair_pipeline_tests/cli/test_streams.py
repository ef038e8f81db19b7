"""Output that is not UTF-8."""

import io
import os
import subprocess
import sys

import pytest

from repair_pipeline.cli.streams import replace_what_cannot_be_written


@pytest.mark.parametrize(
    ("encoding", "form", "shown"),
    [
        ("ascii", "table", " Zürich → [b] "),
        ("latin-1", "csv", "Zürich → [b]\n"),
        ("ascii:surrogateescape", "json", r"Z\u00fcrich \u2192 [b]"),
    ],
)
def test_what_an_encoding_lacks_is_replaced(tmp_path, encoding, form, shown):
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
        ("utf-8", "strict", "replace"),  # what stands for a byte of a file's name is no character either
        ("ascii", "surrogateescape", "replace"),
        ("utf-8", "surrogateescape", "surrogateescape"),
        ("ascii", "backslashreplace", "backslashreplace"),
    ],
)
def test_a_stream_that_cannot_fail_is_left_alone(monkeypatch, encoding, errors, after):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    replace_what_cannot_be_written()
    print("a\udcff→", flush=True)
    assert stream.errors == after
