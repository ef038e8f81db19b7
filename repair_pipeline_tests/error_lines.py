"""Which of the package's error lines no test provokes: ``make error-lines`` runs the suite and lists them.

Every place that makes an ``InputError`` is found in the source. While the tests run, in this process and in those that
they start, each place that makes one is written down.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from repair_pipeline import errors

PACKAGE = Path(errors.__file__).parent
FOLDER = "REPAIR_ERROR_LINES"
"""The variable with the folder that the places are written to, a file for each process."""
_SITE = "import repair_pipeline_tests.error_lines as lines\nlines.record()\n"
"""Python imports a module of the name ``sitecustomize`` in every process that starts."""


@dataclass(frozen=True, order=True)
class Place:
    """A call that makes an ``InputError``, or an error that is one."""

    file: str
    first: int
    last: int
    text: str
    """The beginning of its message, as it is written."""


def places() -> Iterator[Place]:
    """Every place of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("InputError", "UnwritableError"):
                text = ast.get_source_segment(source, node.args[0]) if node.args else None
                yield Place(
                    str(path.relative_to(PACKAGE)),
                    node.lineno,
                    node.end_lineno or node.lineno,
                    " ".join((text or "").split())[:100],
                )


def record() -> None:
    """From now on write down where this process makes an ``InputError``; nothing without the variable ``FOLDER``."""
    if FOLDER not in os.environ:
        return
    file, make = Path(os.environ[FOLDER]) / f"{os.getpid()}.txt", errors.InputError.__init__

    def making(error: errors.InputError, message: str) -> None:
        make(error, message)
        frame = sys._getframe(1)
        with open(file, "a", encoding="utf-8") as lines:
            lines.write(f"{frame.f_code.co_filename}:{frame.f_lineno}\n")

    errors.InputError.__init__ = making  # type: ignore[method-assign]


def provoked(folder: Path) -> set[tuple[str, int]]:
    """The files and lines that were written down."""
    found = set()
    for path in folder.glob("*.txt"):
        for line in path.read_text(encoding="utf-8").splitlines():
            file, _, number = line.rpartition(":")
            if Path(file).is_relative_to(PACKAGE):
                found.add((str(Path(file).relative_to(PACKAGE)), int(number)))
    return found


def missing(folder: Path) -> list[Place]:
    """The places that nothing in the folder names."""
    seen = provoked(folder)
    return sorted(
        place
        for place in places()
        if not any((place.file, line) in seen for line in range(place.first, place.last + 1))
    )


def main() -> int:
    """Run the tests that the arguments name, or all, and list the places that none provokes.

    Returns:
        1 if there are any, or a test fails.
    """
    with TemporaryDirectory() as scratch:
        site, folder = Path(scratch, "site"), Path(scratch, "lines")
        site.mkdir()
        folder.mkdir()
        (site / "sitecustomize.py").write_text(_SITE, encoding="utf-8")
        roots = [str(site), str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, FOLDER: str(folder), "PYTHONPATH": os.pathsep.join(filter(None, roots))}
        tests = subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment)
        left, total = missing(folder), len(list(places()))
    for place in left:
        print(f"{place.file}:{place.first}: {place.text}")
    print(f"{total - len(left)} of {total} error lines are provoked by a test")
    return int(bool(left) or tests.returncode != 0)


if __name__ == "__main__":
    sys.exit(main())
