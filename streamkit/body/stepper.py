"""Async content on asyncio, stepped by hand.

The content runs in one coroutine, and is closed by another (`Gatherer`). Each is stepped with
`send(None)`, and gives up what it waits for.

This rests on asyncio's task protocol: a coroutine yields None, or a future whose
`_asyncio_future_blocking` is set. Each kind of awaitable has a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Callable, Generator
from types import coroutine
from typing import Any

from streamkit.body.base import Coding
from streamkit.body.gather import PAUSED, CancelledAtYield, Gatherer, Mark

__all__ = ["NEW", "Stepper"]

# Nothing was yielded yet.
NEW = Mark()


class Stepper(Gatherer):
    """Steps an async iterable in the task that calls, and closes it there."""

    def __init__(self, content: AsyncIterable[Any]) -> None:
        super().__init__(content)
        self._driving: Any = None
        # What the content yielded last, and was not waited for yet.
        self._trap: Any = NEW
        # Whether the cancellation that `stop` stands for has reached the content.
        self._told_to_stop = False
        self.finished: bool = False

    def start(self, coding: Coding) -> None:
        self._coding = coding
        self._driving = self._take_items()

    def stop(self) -> bool:
        self.stopped = True
        # The next item makes it check.
        self._pace.allowed = 0
        return not self._closing

    def _resume(self) -> Generator[Any, Any, Any]:
        """Wait for what the content waits for, and take its next step."""
        driving, trap = self._driving, self._trap
        if isinstance(trap, Mark):
            if self._yields and (yield from self._give_a_turn()):
                return self._trap
            return self._advance(driving.send, None)
        self._trap = NEW
        try:
            argument = yield trap
        except BaseException as exc:
            return self._throw(exc)
        self._pace.begin()
        return self._advance(driving.send, argument)

    def _throw(self, exc: BaseException) -> Any:
        if isinstance(exc, GeneratorExit):
            # The loop was closed under the task: nothing can be awaited any more.
            self.finished = True
            self._driving.close()
            raise exc
        self._told_to_stop = self.stopped
        return self._advance(self._driving.throw, exc)

    def _give_a_turn(self) -> Generator[Any, Any, bool]:
        """Let the loop run between two batches; whether the content was cancelled meanwhile."""
        self._yields = False
        try:
            # Two turns: anyio cancels only who still waits when it looks, once a turn, and a task
            # that this one wakes in each turn would never be found waiting.
            yield None
            yield None
        except GeneratorExit as exc:
            self._throw(exc)
        except asyncio.CancelledError as exc:
            if not self.stopped:
                self._cancel_content(exc)
                return True
        return False

    def _advance(self, step: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return step(argument)
        except BaseException as exc:
            return self._end(exc)

    def _end(self, exc: BaseException) -> Any:
        """What was stepped has ended: the content, which is closed then, or its closing."""
        # That it was cancelled, as `stop` asked for, is no failure.
        asked = self.stopped and isinstance(exc, asyncio.CancelledError)
        error = None if asked or isinstance(exc, StopIteration) else exc
        if self._closing:
            self._add_error(error)
            self.finished = True
            return NEW
        self._driving = self._close_content(error)
        return self._advance(self._driving.send, None)

    def _cancel_content(self, exc: BaseException) -> None:
        """Deliver a cancellation to the content, which waits at its `yield` or for a future."""
        trap = self._trap
        if trap is PAUSED:
            self._trap = self._advance(self._driving.throw, CancelledAtYield(exc))
        elif trap is None:
            self._trap = self._advance(self._driving.throw, exc)
        elif not isinstance(trap, Mark):
            if not trap.cancel():
                # It is done already, as for a task that is cancelled before its next step.
                self._trap = self._advance(self._driving.throw, exc)
            elif trap.done():
                trap._asyncio_future_blocking = False
                self._trap = self._advance(self._driving.send, None)

    @coroutine
    def aclose(self) -> Generator[Any, Any, None]:
        self.stop()
        if not (self.finished or self._told_to_stop or self._closing):
            self._told_to_stop = True
            if self._iterator is None:
                # It never began.
                if self._driving is not None:
                    self._driving.close()
                self._driving = self._close_content(None)
            # At a pause it finds `stopped`; where it waits, it is cancelled.
            elif not isinstance(trap := self._trap, Mark) and (trap is None or not trap.cancel()):
                self._trap = self._advance(self._driving.throw, asyncio.CancelledError())
        while not self.finished:
            self._trap = yield from self._resume()
            self._chunks.clear()
