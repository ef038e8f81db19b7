"""Processes that do one thing at once, and processes that are killed."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from typing import Any

import sqlalchemy

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


def killed(work: Callable[..., None], *arguments: Any) -> bool:
    """Whether a process that does the work is killed by SIGKILL. It is a fork: what is imported need not be again."""
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    child.join(_SECONDS)
    return child.exitcode == -signal.SIGKILL


def killed_at_statement(number: int, work: Callable[..., Any], *arguments: Any) -> None:
    """Do the work, and kill this process before the SQL statement of this number that SQLAlchemy executes."""
    made = []

    def count(*_: Any) -> None:
        made.append(None)
        if len(made) == number:
            os.kill(os.getpid(), signal.SIGKILL)

    sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", count)
    work(*arguments)


def _race(work: Callable[[Any], None], what: Any, start: Barrier, answers: "SimpleQueue[str | None]") -> None:
    start.wait(_SECONDS)
    try:
        work(what)
    except Exception as error:
        answers.put(repr(error))
    else:
        answers.put(None)
