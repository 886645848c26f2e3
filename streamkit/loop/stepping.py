"""Coroutines stepped by hand, one after the other in the same runner.

To step a coroutine by its own `send` costs as much again, for the exception at its end. A runner
goes from one to the next and says `DONE` between them. One that raises ends with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any

__all__ = ["DONE", "begin", "free_runners", "make_runner", "rest_of"]

# A coroutine is at its end.
DONE = object()

# Runners that run nothing now. Any thread takes from it and adds to it, each in one step. One whose
# coroutine waited is not added: after a crowd that waits there would be thousands.
free_runners: list[Any] = []


@coroutine
def _run_each() -> Generator[Any, Any, None]:
    while True:
        yield from (yield DONE)


def make_runner() -> Any:
    """A runner: `send` it a coroutine, and then what its traps ask for, until it gives `DONE`."""
    runner: Any = _run_each()
    next(runner)
    return runner


def begin(begun: Coroutine[Any, Any, Any]) -> Awaitable[None] | None:
    """Take the first step of a coroutine: the rest of it to wait for; None if it is done."""
    runner = free_runners.pop() if free_runners else make_runner()
    trap = runner.send(begun)
    if trap is DONE:
        free_runners.append(runner)
        return None
    return rest_of(runner, trap)


@coroutine
def rest_of(runner: Any, trap: Any) -> Generator[Any, Any, None]:
    """The rest of what a runner runs, and of which a step gave `trap`."""
    while trap is not DONE:
        step: Callable[[Any], Any] = runner.send
        try:
            argument = yield trap
        except GeneratorExit:
            runner.close()
            raise
        except BaseException as exc:
            step, argument = runner.throw, exc
        trap = step(argument)
