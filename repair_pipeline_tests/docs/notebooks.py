"""Every notebook of the documentation is executed anew, and its text is what it shows: `make docs`. Minutes."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient

from repair_pipeline_tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def executed(path: Path, folder: Path) -> nbformat.NotebookNode:
    """The notebook with fresh outputs.

    Raises:
        CellExecutionError: a cell fails.
    """
    notebook = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=str(folder / "kernel.json"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": str(folder)}})
    client.execute(env=environment)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_keeps_its_outputs(path, tmp_path):
    kept = nbformat.read(path, as_version=4)
    for shown, again in zip(kept.cells, executed(path, tmp_path).cells, strict=True):
        # Numbers differ a little between machines; what kinds of output there are does not.
        kinds = [[sorted(output.get("data", {})) for output in cell.get("outputs", [])] for cell in (shown, again)]
        assert kinds[0] == kinds[1], shown.source
    assert path.stat().st_size < 200_000


if __name__ == "__main__":  # python -m repair_pipeline_tests.docs.notebooks keeps fresh outputs
    from tempfile import TemporaryDirectory

    for each in NOTEBOOKS:
        with TemporaryDirectory() as scratch:
            nbformat.write(executed(each, Path(scratch)), each)
