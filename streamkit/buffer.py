"""The one buffer that stands between whoever produces and the one who sends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Buffer", "ThreadSignal"]

T = TypeVar("T")


class ThreadSignal:
    """An event that resets itself, for a waiter which is a thread."""

    __slots__ = ("_semaphore",)

    def __init__(self) -> None:
        self._semaphore = threading.Semaphore(0)

    def set(self) -> None:
        """Wake the waiter; from any thread."""
        self._semaphore.release()

    set_threadsafe = set

    def wait(self) -> None:
        """Block until set, and reset."""
        self._semaphore.acquire()


class Buffer(Generic[T]):
    """Bounded, first in first out; `put` from any one thread, `take` gives all there is.

    The state lives under one lock, so that a wake-up cannot be lost: a side that finds nothing
    to do is marked as waiting in the same breath, and the other side wakes it only then.

    `limit` is what the producer may be ahead, in units of `measure` (bytes, for `len`); one item
    may pass it. `wake_reader` and `wake_writer` must be callable from the other side's thread.

    >>> buffer = Buffer(4, len, wake_reader=print, wake_writer=print)
    >>> buffer.put(b"ab"), buffer.put(b"cd"), buffer.take()
    (True, False, [b'ab', b'cd'])
    """

    __slots__ = (
        "_items",
        "_limit",
        "_lock",
        "_measure",
        "_reader_waits",
        "_wake_reader",
        "_wake_writer",
        "_writer_waits",
        "error",
        "finished",
        "size",
        "stopped",
    )

    def __init__(
        self,
        limit: int,
        measure: Callable[[T], int],
        *,
        wake_reader: Callable[[], None],
        wake_writer: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._measure = measure
        self._wake_reader = wake_reader
        self._wake_writer = wake_writer
        self._lock = threading.Lock()
        self._items: list[T] = []
        self._reader_waits = False
        self._writer_waits = False
        self.size = 0
        self.stopped = False
        self.finished = False
        self.error: BaseException | None = None

    # the producer's side

    def put(self, item: T) -> bool:
        """Add an item; False when there is no room for another, or nobody wants one."""
        size = self._measure(item)
        with self._lock:
            # Empty items are worth a wake-up (they let the headers go) but no place in a queue.
            if size or not self._items:
                self._items.append(item)
            self.size = size = self.size + size
            if not self._reader_waits:
                return size < self._limit
            self._reader_waits = False
        self._wake_reader()
        return size < self._limit

    def has_room(self) -> bool:
        """Whether to produce on; if not, the writer is woken when that changes."""
        with self._lock:
            self._writer_waits = self.size >= self._limit and not self.stopped
            return not self._writer_waits

    def finish(self, error: BaseException | None = None) -> None:
        """Say that the content is at its end and closed; `error` is what ended it."""
        with self._lock:
            self.error = error
            self.finished = True
            wake, self._reader_waits = self._reader_waits, False
        if wake:
            self._wake_reader()

    # the taker's side

    def is_idle(self) -> bool:
        """Whether nothing is there and more may come; the reader is then woken when it does."""
        with self._lock:
            self._reader_waits = not (self._items or self.finished)
            return self._reader_waits

    def take(self) -> list[T]:
        """All that is there."""
        with self._lock:
            items, self._items = self._items, []
            self.size = 0
            wake, self._writer_waits = self._writer_waits, False
        if wake:
            self._wake_writer()
        return items

    def stop(self) -> None:
        """Ask the producer to stop; what it still puts is dropped with the buffer."""
        with self._lock:
            self.stopped = True
            # No size is below a limit of zero: every `put` now says so, at no price of its own.
            self._limit = 0
            wake, self._writer_waits = self._writer_waits, False
        if wake:
            self._wake_writer()
