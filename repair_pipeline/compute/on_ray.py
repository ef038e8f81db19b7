"""The engine ``ray``: pieces of work as tasks of a Ray cluster, or of a Ray that is started on this machine."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from itertools import islice
from typing import Any

import torch

from repair_pipeline.compute.device import threads
from repair_pipeline.compute.engines import LOCAL, P, R, Results, Work
from repair_pipeline.entry_point import imported_modules
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.types import Progress, silent

log = logging.getLogger(__name__)

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable for the address of a cluster, ``host:6379``. Unset: Ray is started on this machine."""

_ANSWERS_WITHIN = 5.0
"""Seconds within which a cluster must answer."""
_SETTINGS = b"\x04"
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0" + _SETTINGS + b"\0" * 5
"""How HTTP/2, which Ray speaks, begins (RFC 9113, 3.4): a server's first frame is of this type too."""
_AHEAD = 2
"""Tasks submitted for each that can run at a time. It bounds the memory for results that wait for their turn."""
_CANCEL_WITHIN = 30.0
"""Seconds in which tasks that are given up may end."""


@dataclass(frozen=True)
class Ray:
    """Tasks of Ray. A task that is lost with its worker or node runs again elsewhere."""

    cpus: float
    """CPUs that a task reserves."""
    gpus: float
    """GPUs that a task reserves; a fraction lets several tasks share one."""
    retries: int
    """How often a lost task runs again. An error that the work itself raises is no loss."""

    def results(self, work: Work[P, R], pieces: Sequence[P], progress: Progress) -> Results[R]:
        if len(pieces) < 2:  # what it spreads itself brings more than one task
            yield from LOCAL.results(work, pieces, progress)
            return
        try:
            _connect()
            ahead = _AHEAD * self._slots()
        except RuntimeError as error:
            yield from [partial(_refused, error)] * len(pieces)
            return
        import ray

        for module in imported_modules():  # the user's, which workers need not find, or may have in an older version
            ray.cloudpickle.register_pickle_by_value(module)
        task: Any = ray.remote(num_cpus=self.cpus, num_gpus=self.gpus, max_retries=self.retries)(_run)
        try:
            shared = ray.put(work)
        except Exception as error:  # whatever its parts raise: a scripted model cannot be pickled, for example
            log.warning("what would run on Ray cannot be sent (%s): it runs here", one_line(error))
            yield from LOCAL.results(work, pieces, progress)
            return
        count = torch.get_num_threads()
        left, running = iter(pieces), deque[Any]()
        try:
            for done in range(len(pieces)):
                running += [task.remote(shared, piece, count) for piece in islice(left, ahead - len(running))]
                while not ray.wait([running[0]], timeout=1)[0]:
                    progress(done + _finished(running), len(pieces))
                progress(done + _finished(running), len(pieces))
                yield partial(_received, running.popleft())
        finally:
            for reference in running:
                ray.cancel(reference)
            if running:
                ray.wait(list(running), num_returns=len(running), timeout=_CANCEL_WITHIN)

    def _slots(self) -> int:
        """How many tasks the cluster can run at a time.

        Raises:
            RuntimeError: no node is large enough for a single one.
        """
        import ray

        needed = {name: count for name, count in {"CPU": self.cpus, "GPU": self.gpus}.items() if count}
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        slots = sum(min(int(node.get(name, 0) / count) for name, count in needed.items()) for node in nodes)
        if not slots:
            wanted = " and ".join(f"{count:g} {name}" for name, count in needed.items())
            largest = {name: max(node.get(name, 0) for node in nodes) for name in needed}
            there = ", ".join(f"{count:g} {name}" for name, count in largest.items())
            raise RuntimeError(
                f"a task needs {wanted}, but no node of the Ray cluster has them (at most {there}): set "
                "ray_cpus and ray_gpus"
            )
        return slots


def ray_engine(cpus: float, gpus: float, retries: int) -> Ray:
    """The engine on the cluster at ``RAY_ADDRESS``, or on a Ray that is started on this machine when it is needed.

    Raises:
        InputError: Ray is not installed, or no cluster answers.
    """
    if find_spec("ray") is None:
        raise InputError(
            "the setting engine is 'ray', but Ray is not installed: pip install 'repair_pipeline[ray]', or set "
            "engine to 'local'"
        )
    _require_answering(_address())
    return Ray(cpus, gpus, retries)


def _address() -> str:
    return os.environ.get(ADDRESS) or "local"


def _connect() -> None:
    """Connect this process to Ray, once.

    Raises:
        RuntimeError: it is not a Ray of this version, or cannot be started.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    if ray.is_initialized():
        return
    address = _address()
    try:
        with _own_signals():
            ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:  # of many kinds: a node that is not up in time raises a plain one
        raise RuntimeError(f"Ray at {address} cannot be used: {one_line(error)}") from error


def _require_answering(address: str) -> None:
    """Refuse an address where no Ray answers: Ray itself would try for minutes, and say so in many lines."""
    if address in ("local", "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWERS_WITHIN) as connection:
            connection.sendall(_HELLO)
            answers = connection.recv(4)[3:] == _SETTINGS or "RAY_USE_TLS" in os.environ
        why = "what listens there is no Ray"
    except (OSError, ValueError) as error:
        answers, why = False, one_line(error)
    if not answers:
        raise InputError(f"{ADDRESS} is {address!r}, but no Ray answers there ({why}): start it, or write host:port")


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep what SIGTERM does: Ray would replace it, and a run could not close its records."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _run(work: Work[P, R], piece: P, count: int) -> tuple[R, None] | tuple[None, Exception]:
    """A task: the result of a piece, or its error, computed with as many threads as by the caller."""
    with threads(count):
        try:
            return work(piece, silent), None
        except Exception as error:
            error.add_note(f"On the worker:\n{traceback.format_exc()}")
            return None, error


def _finished(running: deque[Any]) -> int:
    import ray

    return len(ray.wait(list(running), num_returns=len(running), timeout=0, fetch_local=False)[0])


def _refused(error: RuntimeError) -> Any:
    raise error


def _received(reference: Any) -> Any:
    import ray

    try:
        result, error = ray.get(reference)
    except ray.exceptions.RayTaskError as failed:  # what is sent cannot be read there, or what is made cannot be sent
        raise RuntimeError(f"a task cannot run on its worker: {one_line(failed.cause)}") from failed
    except ray.exceptions.RayError as lost:
        raise RuntimeError(f"a task was lost with its worker or node: {one_line(lost)}") from lost
    if error is not None:
        raise error
    return result
