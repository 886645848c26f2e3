"""The bridge from a thread to async content on the event loop."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterator
from typing import Any, TypeVar

import anyio.from_thread

from streamkit import loop
from streamkit.body.base import Coding, weigh
from streamkit.body.pumped import PumpedBody
from streamkit.body.queue import ThreadSignal
from streamkit.declare import whole_number
from streamkit.errors import StreamStopped
from streamkit.threads import current_burst, waiting_for_the_loop

__all__ = ["ThreadIterator", "iterate_from_thread"]

T = TypeVar("T")


def iterate_from_thread(
    async_iterable: AsyncIterable[T], *, max_buffer: int = 65536
) -> ThreadIterator[T]:
    """Iterate over an async iterable in sync code that runs on a worker thread.

    The other way of `iterate_in_threadpool`, for `def` endpoints and sync generators: the
    iterable is driven by a task on the event loop, at most `max_buffer` bytes ahead of the thread,
    measured as there.

    Close it (it is a context manager as well) to stop early; it closes the async iterable, in
    its task, at the end and after an exception. Raises `RuntimeError` on a thread that anyio did
    not start, `TypeError` for what isn't an async iterable, and what the iterable raises.

        with iterate_from_thread(client.stream()) as chunks:
            for chunk in chunks:
                file.write(chunk)
    """
    if not isinstance(async_iterable, AsyncIterable):
        raise TypeError(
            f"iterate_from_thread() takes an async iterable, got {type(async_iterable).__name__}"
        )
    whole_number("max_buffer", max_buffer)
    return ThreadIterator(async_iterable, Coding(measure=weigh, max_buffer=max_buffer))


class _Bridge:
    """The thread's end of async content that a task drives.

    Held by the iterator, and by the stream on whose thread it was opened, which closes it.
    """

    def __init__(self, content: AsyncIterable[Any], coding: Coding) -> None:
        self.body = PumpedBody(content)
        self._coding = coding
        self._signal = ThreadSignal()
        # Not set while a thread is in here.
        self._free = ThreadSignal()
        self._free.set()
        self.stop_soon: Callable[[], None] | None = None
        self.closed = False

    def start(self) -> None:
        if self.stop_soon is not None:
            return
        try:
            anyio.from_thread.run_sync(self._start_on_loop)
        except RuntimeError as exc:
            raise RuntimeError(
                "iterate_from_thread() works on a worker thread of the event loop: in a `def` "
                "endpoint, a sync generator that streams, or anyio.to_thread.run_sync()"
            ) from exc
        if (burst := current_burst()) is not None:
            burst.bridges = [each for each in burst.bridges if not each.body.finished]
            burst.bridges.append(self)

    def _start_on_loop(self) -> None:
        self.body.start(self._coding, self._signal)
        if self.closed:
            # In the same turn: nothing of the content runs.
            self.body.stop()
        self.stop_soon = loop.threadsafe(self.body.stop)

    def alone(self, function: Callable[[], T]) -> T:
        """Call what waits for the content, in one thread at a time: the signal wakes one."""
        if not self._free.wait(0):
            raise ValueError("another thread waits for the next item of this iterate_from_thread()")
        try:
            return function()
        finally:
            self._free.set()

    def wait(self) -> None:
        if self.body.queue.is_idle():
            waiting_for_the_loop(self.body, self._signal.wait)

    def close(self) -> None:
        """Stop the content, and return when it is closed; raises what its cleanup raises."""
        self.closed = True
        if self.stop_soon is not None and not self.body.finished:
            # Also if another thread waits, which comes to the end then.
            self.stop_soon()
        self.alone(self._close)

    def _close(self) -> None:
        self.start()
        queue = self.body.queue
        # What the reader was told, or left before it came to it.
        left = queue.error
        if not queue.finished:
            anyio.from_thread.run_sync(self.body.stop)
        while not queue.finished:
            queue.take()
            self.wait()
        queue.take()
        if queue.error is not None and queue.error is not left:
            raise queue.error


class ThreadIterator(Iterator[T]):
    """What `iterate_from_thread` gives: a sync iterator that is closed as generators are.

    A stop of the stream whose thread waits here stops the async iterable too, and the wait ends
    with `StreamStopped`. As of generators, `ValueError` while another thread waits.

        def chunks(client: Client) -> ThreadIterator[bytes]:
            return iterate_from_thread(client.stream())
    """

    def __init__(self, content: AsyncIterable[T], coding: Coding) -> None:
        self._bridge = _Bridge(content, coding)
        self._ready: Iterator[T] = iter(())

    def __enter__(self) -> ThreadIterator[T]:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __next__(self) -> T:
        for item in self._ready:
            return item
        return self._bridge.alone(self._next_of_more)

    def _next_of_more(self) -> T:
        bridge = self._bridge
        bridge.start()
        queue = bridge.body.queue
        while True:
            finished = queue.finished
            self._ready = iter(queue.take())
            for item in self._ready:
                return item
            if finished:
                break
            bridge.wait()
        if queue.stopped and not bridge.closed:
            if (burst := current_burst()) is not None:
                burst.told = True
            raise StreamStopped("the stream that reads here was stopped")
        if queue.error is not None and not queue.stopped:
            raise queue.error
        raise StopIteration

    def close(self) -> None:
        """Stop the async iterable, and return when it is closed; raises what its cleanup raises."""
        self._ready = iter(())
        self._bridge.close()

    def __del__(self) -> None:
        # The garbage collector may run this anywhere: it takes no lock and waits for nothing.
        bridge = self._bridge
        if bridge.stop_soon is not None and not bridge.body.finished:
            bridge.stop_soon()
