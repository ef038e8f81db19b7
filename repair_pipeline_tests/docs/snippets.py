"""Every command and Python snippet in the documentation is run: `make docs`. Minutes, so no part of `make test`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from repair_pipeline_tests.docs.pages import NOT_RUN, ROOT, RUN, SHOWN, Block, blocks, pages

FOLLOWS = {
    "how-to/failures": "tutorial",
    "how-to/judge": "tutorial",
    "how-to/nightly": "tutorial",
    "how-to/patch": "tutorial",
    "how-to/promote": "tutorial",
    "how-to/review": "tutorial",
    "how-to/recipe": "library",
    "how-to/report": "index",
    "how-to/sql": "index",
    "how-to/mlflow": "index",
    "how-to/recover": "index",
    "explanation/identity": "index",
    "extend/influence": "index",
    "extend/learner": "index",
    "extend/treatment": "index",
    "../README": "index",
}
"""Pages that go on where another ends, in its folder."""
IN_A_CLONE = ("index", "extend/likelihood")
"""Pages whose folder holds a copy of the code, for the pages that change it."""


def _name(page: Path) -> str:
    return os.path.relpath(page, ROOT / "docs").removesuffix(".md")


def _is_run(block: Block) -> bool:
    return (block.language in RUN or block.file is not None) and _why_not(block) is None


def _why_not(block: Block) -> str | None:
    return next((why for folder, why in NOT_RUN.items() if (ROOT / folder) in block.page.parents), block.skip)


def _parameter(page: Path) -> object:
    root = FOLLOWS.get(_name(page), _name(page))
    return pytest.param(page, id=_name(page), marks=pytest.mark.xdist_group(root))


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Where each page was run, once."""
    return {"bin": _commands(tmp_path_factory.mktemp("bin"))}


def _commands(folder: Path) -> Path:
    """``repair``, ``python`` and ``pytest`` as after the installation, whatever was activated."""
    for name, words in {"repair": "-m repair_pipeline.cli.main", "pytest": "-m pytest", "python": ""}.items():
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} {words} "$@"\n')
        (folder / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("page", [_parameter(page) for page in pages() if any(map(_is_run, blocks(page)))])
def test_the_page_does_what_it_says(page, folders, tmp_path_factory, record_property):
    _work_through(page, folders, tmp_path_factory)
    for block in blocks(page):
        if block.language in RUN:
            record_property("block", (block.place, _why_not(block)))


def _work_through(page: Path, folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Do what the page says, after what the page it follows says; returns the folder."""
    name = _name(page)
    if name in folders:
        return folders[name]
    before = FOLLOWS.get(name)
    if before:
        folder = _work_through(ROOT / "docs" / f"{before}.md", folders, tmp_path_factory)
    else:
        folder = tmp_path_factory.mktemp(name.replace("/", "-"))
    if name in IN_A_CLONE:
        for part in ("repair_pipeline", "repair_pipeline_tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", folder)
    printed = ""
    for block in blocks(page):
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.content, encoding="utf-8")
        elif _is_run(block):
            printed = _run(block, folder, folders["bin"])
        elif block.language == "text" and printed:
            _require_printed(block, printed)
        if block.language not in SHOWN and not _is_run(block):
            printed = ""
    folders[name] = folder
    return folder


def _run(block: Block, folder: Path, commands: Path) -> str:
    words = {"sh": ["bash", "-euo", "pipefail", "-s"], "python": ["python", "-"], "diff": ["git", "apply", "-"]}
    environment = {
        **os.environ,
        "PATH": f"{commands}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "REPAIR_HOME": str(folder / "data"),
        "COLUMNS": "110",
        "OMP_NUM_THREADS": "1",
    }
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        words[block.language], input=block.content, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, (
        f"{block.place} ends with {done.returncode}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    )
    return done.stdout


def _require_printed(shown: Block, printed: str) -> None:
    """Every shown line was printed, whatever the numbers in it; … stands for what is left out."""
    lines = [_stable(line) for line in printed.splitlines()]
    for line in filter(None, map(_stable, shown.content.splitlines())):
        pattern = ".*".join(map(re.escape, re.split(r"\s*…\s*", line)))
        assert any(re.fullmatch(pattern, each) for each in lines), (
            f"{shown.place} shows\n{line}\nand what was printed is\n" + "\n".join(lines)
        )


def _stable(line: str) -> str:
    """The line without what differs between machines: numbers, hashes, and the widths that follow from them."""
    line = re.sub(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,}(-\d+)?\b", "#", line)
    line = re.sub(r"[-+]?\d[\d.,]*(e[-+]\d+)?", "#", line)
    return " ".join(re.sub(r"[━─]+", "─", line).split())
