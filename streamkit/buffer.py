"""The one buffer that stands between whoever produces and the one who sends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Buffer", "ThreadSignal"]

T = TypeVar("T")

# The size of the items that a producer adds, at most, before it looks around and at the clock.
LOOK_UP_EVERY = 2048


class ThreadSignal:
    """An event that resets itself, for a waiter which is a thread; one thread sets it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiter."""
        if self._lock.locked():
            self._lock.release()

    def set_threadsafe(self) -> None:
        """The same: it is made for threads."""
        self.set()

    def wait(self, timeout: float = -1) -> bool:
        """Block until set, and reset; False when `timeout` seconds passed instead."""
        return self._lock.acquire(timeout=timeout)


class Buffer(Generic[T]):
    """Bounded, first in first out: one producer, and one reader who takes all there is.

    `limit` is what the producer may be ahead, in units of `measure` (bytes, for `len`) and one
    for each item; one item may pass it. `wake_reader` and `wake_writer` must be callable from the
    other side's thread.

    Adding an item takes no lock, because the list and the flags need none where each has one
    writer: the producer looks at `_look` after it has added, the reader at the list after
    it has set the flag, so that one of them sees the other. Whatever a side decides by (waiting,
    full, stopped, finished) lives under one lock, so that no wake-up is lost.

    >>> buffer = Buffer(6, len, wake_reader=print, wake_writer=print)
    >>> put = buffer.writer(str.encode)
    >>> put("ab"), put("cd"), buffer.take()
    (True, False, [b'ab', b'cd'])
    """

    __slots__ = (
        "_counted",
        "_counted_size",
        "_items",
        "_limit",
        "_lock",
        "_look",
        "_look_always",
        "_measure",
        "_reader_rests",
        "_reader_waits",
        "_wake_reader",
        "_wake_writer",
        "_writer_waits",
        "error",
        "finished",
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
        # So many of the items have been measured, to this size.
        self._counted = self._counted_size = 0
        # Whether the next `put` looks up, however little was added.
        self._look = False
        self._look_always = False
        self._reader_waits = False
        self._reader_rests = False
        self._writer_waits = False
        self.stopped = False
        self.finished = False
        self.error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    # the producer's side

    def writer(self, encode: Callable[[Any], T]) -> Callable[[Any], bool]:
        """A function that encodes an item and adds it; for one producer.

        It returns False when there is reason to look up: the reader was waiting, nobody wants
        more, a little more was added, or there may be no room left. `has_room` tells.
        """
        append, measure = self._items.append, self._measure
        # The size added since the producer last looked up, and what it may come to.
        added, allowed = 0, min(self._limit, LOOK_UP_EVERY)

        def put(item: Any) -> bool:
            nonlocal added, allowed
            data = encode(item)
            append(data)
            added += measure(data) + 1
            if added < allowed and not self._look:
                return True
            added, allowed = 0, min(self._limit - self._look_up(), LOOK_UP_EVERY)
            return False

        return put

    def add(self, data: T) -> None:
        """Add what needs no encoding, whether there is room or not."""
        self._items.append(data)
        self._look_up()

    def _look_up(self) -> int:
        with self._lock:
            size = self._size()
            wake = self._reader_waits or (self._reader_rests and size >= self._limit)
            self._reader_waits = False
            self._look = self.stopped or self._look_always
        if wake:
            self._wake_reader()
        return size

    def _size(self) -> int:
        fresh = self._items[self._counted :]
        self._counted += len(fresh)
        self._counted_size += sum(map(self._measure, fresh)) + len(fresh)
        return self._counted_size

    def look_always(self, always: bool) -> None:
        """Let every `put` look up, as a producer wants whose items take long."""
        with self._lock:
            self._look_always = always
            self._look = always or self._reader_waits or self.stopped

    def has_room(self) -> bool:
        """Whether to produce on; if not, the writer is woken when that changes."""
        with self._lock:
            self._writer_waits = not self.stopped and self._size() >= self._limit
            return not self._writer_waits

    def finish(self, error: BaseException | None = None) -> None:
        """Say that the content is at its end and closed; `error` is what ended it."""
        with self._lock:
            self.error = error
            self.finished = True
            wake = self._reader_waits or self._reader_rests
            self._reader_waits = False
        if wake:
            self._wake_reader()

    # the reader's side

    def rest(self) -> bool:
        """Whether more can be gathered; the reader is then woken when it can't, before `take`."""
        with self._lock:
            self._reader_rests = not self.finished and self._size() < self._limit
            return self._reader_rests

    def is_idle(self) -> bool:
        """Whether nothing is there and more may come; the reader is then woken when it does."""
        with self._lock:
            self._look = True
            self._reader_waits = not (self._items or self.finished)
            self._look = self._reader_waits or self.stopped or self._look_always
            return self._reader_waits

    def take(self, most: int | None = None) -> list[T]:
        """All that is there, or the first `most` items of it."""
        with self._lock:
            # In two steps that leave an item alone which is added between them.
            items = self._items[:most]
            del self._items[: len(items)]
            self._counted = self._counted_size = 0
            self._reader_rests = False
            wake, self._writer_waits = self._writer_waits, False
        if wake:
            self._wake_writer()
        return items

    def stop(self) -> None:
        """Ask the producer to stop; what it still adds is dropped with the buffer."""
        with self._lock:
            self.stopped = True
            # Every `put` looks at this flag, so that the next one says it, at no price of its own.
            self._look = True
            wake, self._writer_waits = self._writer_waits, False
        if wake:
            self._wake_writer()
