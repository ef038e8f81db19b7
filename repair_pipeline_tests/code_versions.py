"""The code that each step's version stands for: ``python -m repair_pipeline_tests.code_versions`` records it anew."""

import ast
import inspect
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from repair_pipeline.datasets.ids import digest
from repair_pipeline.influence.methods import METHODS
from repair_pipeline.pipeline.step import Step
from repair_pipeline.pipeline.steps import STEPS
from repair_pipeline.treatment.treatments import TREATMENTS

RECORD = Path(__file__).with_suffix(".json")


def code_digest(code: Callable[..., Any]) -> str:
    """A digest of the module of a class, or of a function alone, without comments, docstrings and layout."""
    source = inspect.getsource(inspect.getmodule(code) if isinstance(code, type) else code)  # type: ignore[arg-type]
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_text(each)] or [ast.Pass()]
    return digest(ast.dump(tree).encode())


def versions() -> dict[str, dict[str, int | str]]:
    """For each step its version, and a digest of its code as it is now."""
    return {step.name: {"version": step.version, "code": code_digest(_code(step))} for step in STEPS}


def _code(step: Step) -> Callable[..., Any]:
    if step.kind == "influence":
        return type(METHODS[step.entry]())
    if step.kind == "treatment":
        return type(TREATMENTS[step.entry].treatment())
    return step.files.func if isinstance(step.files, partial) else step.files


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


if __name__ == "__main__":
    RECORD.write_text(json.dumps(versions(), indent=1) + "\n", encoding="utf-8")
