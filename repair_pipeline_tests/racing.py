"""Processes that do one thing at once."""

import multiprocessing
from collections.abc import Callable
from typing import Any

_SECONDS = 120


def outcomes(work: Callable[[Any], None], what: Any, processes: int) -> list[str | None]:
    """What each of several processes failed with, None where it did not: all begin together."""
    context = multiprocessing.get_context("fork")  # what is imported is not imported again
    start, answers = context.Barrier(processes), context.SimpleQueue()

    def run() -> None:
        start.wait(_SECONDS)
        try:
            work(what)
        except Exception as error:
            answers.put(repr(error))
        else:
            answers.put(None)

    racers = [context.Process(target=run) for _ in range(processes)]
    for racer in racers:
        racer.start()
    for racer in racers:
        racer.join(_SECONDS)
    return [answers.get() if racer.exitcode == 0 else f"ended with {racer.exitcode}" for racer in racers]
