"""Async content in a task that fills a queue: on trio, and for a reader on a thread."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import anyio

from streamkit import loop
from streamkit.body.base import END, LOOP_SLICE, Coding, Pace, encode_first
from streamkit.body.following import async_followed, cancel_at_yield
from streamkit.body.queue import Queue, ThreadSignal
from streamkit.body.queued import QueuedBody
from streamkit.closing import close_async, first_of
from streamkit.threads import feeds_a_thread

__all__ = ["PumpedBody"]


class PumpedBody(QueuedBody):
    """Drives an async iterable in a separate task."""

    _task: loop.Task
    _room: loop.Signal

    def __init__(self, content: AsyncIterable[Any]) -> None:
        self._content = content
        self._iterator: AsyncIterator[Any] | None = None
        self._pumping = False
        self._pace = Pace(LOOP_SLICE)
        # As on asyncio, the second item is not made before that.
        self._first_is_sent = False

    def start(self, coding: Coding, reader: ThreadSignal | None = None) -> None:
        """Start the task; `reader` is the signal of a reader on a thread."""
        self._started = True
        self._room = room = loop.make_signal()
        if reader is None:
            self._signal = loop.make_signal()
            wake_reader, wake_writer = self._signal.set, room.set
        else:
            wake_reader, wake_writer = reader.set, room.set_threadsafe
        self.queue: Queue = Queue(coding, wake_reader=wake_reader, wake_writer=wake_writer)
        self._coding = coding
        self._for_thread = reader is not None
        self._task = loop.spawn(self._run, self._close)

    async def ready(self) -> list[Any]:
        if not (self._is_first or self._first_is_sent):
            # Who asks again has sent what it got.
            self._first_is_sent = True
            self._room.set()
        return await super().ready()

    def stop(self) -> bool:
        if self._started:
            self.queue.stop()
            if self._pumping:
                # Once: the content's own cleanup, which comes next, must be left to finish.
                self._pumping = False
                self._task.cancel()
        return True

    def kill(self) -> None:
        """Cancel the content's cleanup too."""
        if self._started:
            self._task.kill()

    async def _run(self) -> None:
        if self._for_thread:
            feeds_a_thread.set(True)
        self._failure: BaseException | None = None
        try:
            if not self.queue.stopped:
                self._pumping = True
                await self._pump()
        except BaseException as exc:
            # That it was cancelled, as `stop` asks for, is no failure.
            asked = self.queue.stopped and isinstance(exc, anyio.get_cancelled_exc_class())
            self._failure = None if asked else exc
            if isinstance(exc, GeneratorExit) and not loop.on_loop():
                # The loop was closed under this task: nothing can be awaited any more.
                self.queue.finish(exc)
                raise
        self._pumping = False

    async def _close(self) -> None:
        closing: BaseException | None = None
        try:
            closing = await close_async(self._iterator, self._content)
        finally:
            self.queue.finish(first_of(self._failure, closing))

    async def _pump(self) -> None:
        queue, pace = self.queue, self._pace
        self._iterator = iterator = async_followed(aiter(self._content))
        item = await anext(iterator, END)
        if item is END:
            queue.add_tail()
            return
        if (data := encode_first(self._coding, item)) is not END:
            queue.add(data)
            while not (self._for_thread or self._first_is_sent or queue.stopped):
                await self._room.wait()
        if queue.stopped:
            return
        while not await queue.afill(iterator, pace, self._goes_on):
            try:
                if queue.stopped:
                    return
                if queue.has_room():
                    await loop.checkpoint()
                while not queue.has_room():
                    await self._room.wait()
            except anyio.get_cancelled_exc_class() as exc:
                if queue.stopped:
                    raise
                # By a scope that the content holds around its `yield`.
                item = await cancel_at_yield(iterator, exc)
                if item is END:
                    break
                queue.add(self._coding.encode(item))
            pace.begin()
        queue.add_tail()

    def _goes_on(self) -> bool:
        return self.queue.has_room() and not self.queue.stopped and not self._pace.is_over()
