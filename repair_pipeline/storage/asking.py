"""Queries and predicates that users write, in a process of their own: whatever they ask for, ours goes on.

The engine's own limits are not enough. Long texts (``repeat('x', 4e9)``) are not counted by its limit of memory, a
join of hundreds of tables cannot be interrupted while it is planned, and thousands of subqueries in each other overflow
the stack.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.limits import TOO_DEEP, Limits, shortened


def ask(layout: Layout, sql: str) -> pa.Table:
    """The answer to a user's query, see ``views.query``, within the limits of the settings.

    Raises:
        InputError: ``sql`` is not one SELECT over the views, it fails, or it exceeds a limit.
    """
    return _answer({"home": str(layout.home), "sql": sql}, None, "the query fails")


def ask_rows(rows: pa.Table, predicate: str, key: str) -> list[bool]:
    """Whether a user's predicate holds, row by row, see ``views.holds``, within the limits of the settings.

    Raises:
        InputError: it is not a valid predicate over the columns of ``rows``, or it exceeds a limit.
    """
    shown = shortened(predicate)
    answer = _answer({"predicate": predicate, "key": key}, rows, f"{key} is {shown!r}: the query fails")
    return list(answer["holds"].to_pylist())


def _answer(request: dict[str, Any], rows: pa.Table | None, what: str) -> pa.Table:
    limits, sink = Limits.current(), pa.BufferOutputStream()
    sink.write(json.dumps({**request, "limits": asdict(limits)}).encode() + b"\n")
    if rows is not None:
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
    code = str(Path(__file__).parents[2])  # where the package is
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, (code, os.environ.get("PYTHONPATH")))),
        "ARROW_DEFAULT_MEMORY_POOL": "system",  # others reserve more address space than is allowed,
        "MALLOC_ARENA_MAX": "2",  # as does one arena a thread
    }
    # -P: what lies in the current folder is not imported.
    command = [sys.executable, "-P", "-m", "repair_pipeline.storage.asked"]
    done = subprocess.run(command, input=sink.getvalue(), capture_output=True, env=environment, check=False)
    if done.returncode == 0:
        return pa.ipc.open_stream(done.stdout).read_all()
    message = done.stderr.decode(errors="replace").strip()
    match -done.returncode:
        case -2:
            raise InputError(message)
        case -1:
            raise RuntimeError(f"the process of the query fails: {message}")
        case signal.SIGALRM:
            raise InputError(f"{what}: {limits.too_long}")
        case signal.SIGSEGV | signal.SIGBUS:
            raise InputError(f"{what}: {TOO_DEEP}")
        case _:
            raise InputError(f"{what}: {limits.too_large}")
