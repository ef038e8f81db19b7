"""The process of one query or predicate, see ``asking``: its limits are set before anything is read."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import pyarrow as pa

from repair_pipeline.errors import InputError
from repair_pipeline.storage.layout import Layout
from repair_pipeline.storage.limits import Limits
from repair_pipeline.storage.views import holds, query

_OUT_OF_MEMORY = 3
_SPARE = 2**30
"""Address space for stacks and buffers beside the memory that the engine counts, in bytes."""
_GRACE = 2
"""Seconds that the engine has to interrupt a query itself."""


def main() -> None:
    """Read a request from standard input, and write the answer as an Arrow stream to standard output.

    Exit code 2 and one line on standard error if it is refused; 3 if memory is gone; a signal ends what takes too long.
    """
    request = json.loads(sys.stdin.buffer.readline())
    limits = Limits(**request["limits"])
    _confine(limits)
    try:
        if "sql" in request:
            answer = query(Layout(Path(request["home"])), request["sql"], limits)
        else:
            rows = pa.ipc.open_stream(sys.stdin.buffer).read_all()
            answer = pa.table({"holds": holds(rows, request["predicate"], request["key"], limits)})
        with pa.ipc.new_stream(sys.stdout.buffer, answer.schema) as stream:
            stream.write_table(answer)
    except InputError as error:
        sys.stderr.buffer.write(str(error).encode(errors="backslashreplace"))
        _end(2)
    except MemoryError:  # Arrow's is one, too
        _end(_OUT_OF_MEMORY)
    _end(0)


def _end(code: int) -> NoReturn:
    """End at once: the engine may still be busy, and says much when Python takes it down."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _confine(limits: Limits) -> None:
    signal.setitimer(signal.ITIMER_REAL, limits.seconds + _GRACE)  # its signal ends the process, whatever it is doing
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = Path("/proc/self/statm")
    with suppress(FileNotFoundError):  # only Linux has it; elsewhere the engine's own limit must do
        pages = int(used.read_text().split()[0])
        allowed = pages * resource.getpagesize() + limits.memory_mb * 2**20 + _SPARE
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


if __name__ == "__main__":
    main()
