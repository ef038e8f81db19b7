"""Running a case under test, and comparing what two runs left."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from repair_pipeline.pipeline.case import Case
from repair_pipeline.pipeline.run import Outcome, run_case
from repair_pipeline.storage.files import read_parquet, read_tensors
from repair_pipeline.storage.views import query
from repair_pipeline.types import silent

CLOCKS = {"seconds", "created_at"}


def run(case: Case, force: bool = False) -> Outcome:
    return run_case(case, lambda step: nullcontext(silent), force)


def ask(case: Case, sql: str) -> list[dict[str, Any]]:
    """The rows of a query on the case's home."""
    return query(case.layout, sql).to_pylist()


def named(case: Case, paths: list[Path]) -> set[str]:
    """Files by the part of their path that tells them apart."""
    return {str(path.relative_to(case.layout.results)).replace(f"case_id={case.id}/", "") for path in paths}


def values(path: Path) -> Any:
    """What a file says, seconds and time stamps aside."""
    if path.suffix == ".safetensors":
        tensors, notes = read_tensors(path)
        content: Any = {name: (tensor.dtype, tensor.tolist()) for name, tensor in tensors.items()}
    elif path.suffix == ".parquet":
        table, notes = read_parquet(path)
        content = table.drop_columns([name for name in table.column_names if name in CLOCKS]).to_pydict()
    elif path.suffix == ".npy":
        content, notes = np.load(path, allow_pickle=False).tolist(), {}
    else:
        content, notes = path.read_text(), {}
    return content, {key: value for key, value in notes.items() if key not in CLOCKS}


def everything(case: Case) -> dict[str, Any]:
    """The values of every file of every case below the home."""
    files = [path for path in case.layout.results.rglob("*") if path.is_file() and path.name[0] != "."]
    return {str(path.relative_to(case.layout.results)): values(path) for path in files}
