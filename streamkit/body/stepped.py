"""Async content on asyncio, driven by hand in the task that sends.

When the content gives up a future while chunks are ready, the chunks are sent first, and the
future is handed to the loop then. So an item that comes alone is sent without another task, future
or timer, and items that come together leave together.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, Awaitable, Callable, Coroutine, Generator
from time import monotonic
from types import coroutine
from typing import Any

from streamkit.body.base import ALONE, FIRST_CHECK, Pusher
from streamkit.body.gather import PAUSED, Mark
from streamkit.body.stepper import NEW, Stepper
from streamkit.loop.stepping import DONE, free_runners, make_runner

__all__ = ["SteppedBody"]


class SteppedBody(Stepper):
    """Sends what an async iterable gives in the task that calls `ready()`."""

    def __init__(self, content: AsyncIterable[Any]) -> None:
        super().__init__(content)
        self._sender: Pusher | None = None

    def use_sender(self, sender: Pusher) -> None:
        """Send items that come alone by it."""
        self._sender = sender

    @coroutine
    def ready(self) -> Generator[Any, Any, list[Any]]:
        if not (self._chunks or self.finished):
            trap, sender, pace, shield = self._trap, self._sender, self._pace, self.shield
            step = self._driving.send
            while trap is not None and type(trap) is not Mark:
                # Items that come alone pass here, in the fewest steps.
                self._trap = NEW
                try:
                    argument = yield trap
                except BaseException as exc:
                    trap = self._trap = self._throw(exc)
                    break
                pace.allowed, pace.until = FIRST_CHECK, ALONE
                try:
                    trap = self._trap = step(argument)
                except BaseException as exc:
                    trap = self._trap = self._end(exc)
                    break
                if not (chunks := self._chunks):
                    continue
                if len(chunks) > 1 or trap is None or type(trap) is Mark:
                    break
                if sender is None or not sender.is_plain:
                    break
                self._gathered = 0
                if not sender.push(chunks.pop(), shield):
                    return []
            if trap is None or not (self._chunks or self.finished):
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

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any] | None:
        """Begin a `send`; a cancellation meanwhile is the content's, unless `stop` asked for it.

        A scope around a `yield` of the content cancels this task, which waits for the client just
        then. It waits for a future of ours, so that the one of the `send` is not cancelled.
        """
        runner = free_runners.pop() if free_runners else make_runner()
        trap = runner.send(sending)
        if trap is not DONE:
            return self._finish_sending(runner, trap)
        free_runners.append(runner)
        return None

    @coroutine
    def _finish_sending(self, runner: Any, trap: Any) -> Generator[Any, Any, None]:
        while trap is not DONE:
            step: Callable[[Any], Any] = runner.send
            argument: Any = None
            try:
                if trap is None:
                    argument = yield None
                else:
                    yield from self._wait_for(trap)
            except GeneratorExit:
                runner.close()
                raise
            except asyncio.CancelledError as exc:
                if self.stopped:
                    if trap is not None:
                        trap.cancel()
                    self._told_to_stop = False
                    step, argument = runner.throw, exc
                else:
                    self._cancel_content(exc)
            trap = step(argument)

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


def _waker(waiter: asyncio.Future[None]) -> Callable[[object], None]:
    def wake(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    return wake
