"""Processes that do one thing at once."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

_SECONDS = 180


def outcomes(work: Callable[[Any], None], what: Any, processes: int) -> list[str | None]:
    """What each of several processes failed with, None where it did not: all begin together."""
    context = multiprocessing.get_context("spawn")  # a fork of a process that has threads may crash
    start, answers = context.Barrier(processes), context.SimpleQueue()
    racers = [context.Process(target=_race, args=(work, what, start, answers)) for _ in range(processes)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(_SECONDS)
    return [answers.get() if racer.exitcode == 0 else f"ended with {racer.exitcode}" for racer in racers]


def _race(work: Callable[[Any], None], what: Any, start: Barrier, answers: "SimpleQueue[str | None]") -> None:
    start.wait(_SECONDS)
    try:
        work(what)
    except Exception as error:
        answers.put(repr(error))
    else:
        answers.put(None)
