"""The count of error lines finds those that are made, and those that are not."""

import os
import subprocess
import sys
from pathlib import Path

from repair_pipeline_tests.error_lines import FOLDER, PACKAGE, missing, places, provoked

MAKES_ONE = """
import repair_pipeline_tests.error_lines as lines
lines.record()
from repair_pipeline.extras import package
try:
    package("no_such_package", "peers", "this")
except ValueError:
    pass
"""


def test_a_line_that_a_process_makes_is_no_longer_missing(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", MAKES_ONE],
        env={**os.environ, FOLDER: str(tmp_path), "PYTHONPATH": str(PACKAGE.parent)},
        check=True,
    )
    [(file, line)] = provoked(tmp_path)
    [made] = set(places()) - set(missing(tmp_path))
    assert made.file == file == "extras.py"
    assert made.first <= line <= made.last


def test_every_place_in_the_source_is_counted() -> None:
    calls = sum(path.read_text(encoding="utf-8").count(" InputError(") for path in PACKAGE.rglob("*.py"))
    assert len([place for place in places() if place.text]) >= calls > 300
