"""Async content on asyncio, driven by hand in the task that sends.

The content runs in one coroutine, `Gatherer._drive`. The task steps it with `send(None)`. When it
gives up a future while chunks are ready, the chunks are returned first, and the future is handed
to the loop by the next `ready()`. So an item that comes alone is sent without another task, future
or timer, and items that come together leave together.

This rests on asyncio's task protocol: a coroutine yields None, or a future whose
`_asyncio_future_blocking` is set. Each kind of awaitable has a test.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator
from time import monotonic
from types import coroutine
from typing import Any, TypeVar

from streamkit.body.base import FIRST_CHECK, Coding
from streamkit.body.gather import PAUSED, CancelledAtYield, Gatherer, Mark
from streamkit.closing import close_async

__all__ = ["SteppedBody"]

T = TypeVar("T")


# Nothing was yielded yet.
NEW = Mark()


class SteppedBody(Gatherer):
    """Steps an async iterable in the task that calls `ready()`, and closes it there."""

    def __init__(self, content: AsyncIterable[Any]) -> None:
        super().__init__(content)
        # What `_drive` yielded last, and was not waited for yet.
        self._trap: Any = NEW
        # Whether the cancellation that `stop` stands for has reached the content.
        self._told_to_stop = False
        self.finished: bool = False

    def start(self, coding: Coding) -> None:
        self._coding = coding
        self._driving = self._drive()

    def stop(self) -> bool:
        self.stopped = True
        # The next item makes it check.
        self._pace.allowed = 0
        return not self._closing

    @coroutine
    def ready(self) -> Generator[Any, Any, list[Any]]:
        if not self._chunks and not self.finished:
            trap = self._trap
            if trap is None or isinstance(trap, Mark):
                yield from self._step_until_ready()
            else:
                # An item that comes alone passes here.
                self._trap = NEW
                try:
                    argument = yield trap
                except BaseException as exc:
                    self._trap = self._throw(exc)
                else:
                    pace = self._pace
                    pace.allowed, pace.until = FIRST_CHECK, 0.0
                    try:
                        self._trap = self._driving.send(argument)
                    except (StopIteration, GeneratorExit) as exc:
                        self._trap = self._end(exc)
                if self._trap is None or not (self._chunks or self.finished):
                    yield from self._step_until_ready()
        chunks, self._chunks = self._chunks, []
        self._gathered = 0
        return chunks

    def _step_until_ready(self) -> Generator[Any, Any, None]:
        while True:
            trap = yield from self._resume()
            # A bare yield, `sleep(0)`, is no wait while the slice lasts and there are chunks.
            while trap is None and self._chunks and monotonic() < self._pace.until:
                trap = self._advance(self._driving.send, None)
            self._trap = trap
            if self._chunks or self.finished or (trap is PAUSED and self.stopped):
                return

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
        except (StopIteration, GeneratorExit) as exc:
            return self._end(exc)

    def _end(self, exc: BaseException) -> Any:
        if isinstance(exc, GeneratorExit):
            # The content raised it, and is not closed yet.
            self._driving = self._close_content(exc)
            return self._advance(self._driving.send, None)
        self.finished = True
        return NEW

    def shield(self, sending: Coroutine[Any, Any, T]) -> Awaitable[T] | None:
        """Begin a `send`; a cancellation meanwhile is the content's, unless `stop` asked for it.

        A scope around a `yield` of the content cancels this task, which waits for the client just
        then. It waits for a future of ours, so that the one of the `send` is not cancelled.
        """
        try:
            trap = sending.send(None)
        except StopIteration:
            return None
        finishing: Awaitable[T] = self._finish_sending(sending, trap)
        return finishing

    @coroutine
    def _finish_sending(self, sending: Coroutine[Any, Any, T], trap: Any) -> Generator[Any, Any, T]:
        while True:
            step: Callable[[Any], Any] = sending.send
            argument: Any = None
            try:
                if trap is None:
                    argument = yield None
                else:
                    yield from self._wait_for(trap)
            except GeneratorExit:
                sending.close()
                raise
            except asyncio.CancelledError as exc:
                if self.stopped:
                    if trap is not None:
                        trap.cancel()
                    self._told_to_stop = False
                    step, argument = sending.throw, exc
                else:
                    self._cancel_content(exc)
            try:
                trap = step(argument)
            except StopIteration as end:
                value: T = end.value
                return value

    def _wait_for(self, trap: Any) -> Generator[Any, Any, None]:
        trap._asyncio_future_blocking = False
        while not trap.done():
            waiter = trap.get_loop().create_future()
            wake = _waker(waiter)
            trap.add_done_callback(wake)
            try:
                yield from waiter
            except asyncio.CancelledError as exc:
                if self.stopped:
                    raise
                self._cancel_content(exc)
            finally:
                trap.remove_done_callback(wake)

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
        if self._coding is None:
            if not self.finished:
                self._coding = Coding()
                closing: BaseException | None = yield from close_async(self._content).__await__()
                self.error = closing
                self.finished = True
            return
        if not (self.finished or self._told_to_stop or self._closing):
            self._told_to_stop = True
            # At a pause it finds `stopped`; where it waits, it is cancelled.
            if not isinstance(trap := self._trap, Mark) and (trap is None or not trap.cancel()):
                self._trap = self._advance(self._driving.throw, asyncio.CancelledError())
        while not self.finished:
            self._trap = yield from self._resume()
            self._chunks.clear()


def _waker(waiter: asyncio.Future[None]) -> Callable[[object], None]:
    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    return wake
