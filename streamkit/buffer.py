"""The one buffer that stands between whoever produces and the one who sends."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Generic, TypeVar

__all__ = ["Buffer", "Quick", "ThreadSignal"]

T = TypeVar("T")
Quick = tuple[type, Callable[[Any], T]]

# The size of the items that a producer adds, at most, before it looks around and at the clock.
LOOK_UP_EVERY = 8192


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

    >>> buffer = Buffer(6, len, str.encode, wake_reader=bool, wake_writer=bool)
    >>> items = iter(["ab", "cd", "ef"])
    >>> buffer.fill(items, buffer.has_room), buffer.take()
    (False, [b'ab', b'cd'])
    >>> buffer.fill(items, buffer.has_room), buffer.take()
    (True, [b'ef'])
    """

    __slots__ = (
        "_added",
        "_allowed",
        "_counted",
        "_counted_size",
        "_encode",
        "_items",
        "_limit",
        "_lock",
        "_look",
        "_look_always",
        "_measure",
        "_quick",
        "_reader_rests",
        "_reader_waits",
        "_wake_reader",
        "_wake_writer",
        "_writer_waits",
        "error",
        "finished",
        "reader_waited",
        "stopped",
        "taken_size",
    )

    def __init__(
        self,
        limit: int,
        measure: Callable[[T], int],
        encode: Callable[[Any], T],
        quick: Quick[T] | None = None,
        *,
        wake_reader: Callable[[], None],
        wake_writer: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._measure = measure
        self._encode = encode
        self._quick = quick or (None, encode)
        # The size added since the producer last looked up, and what it may come to.
        self._added, self._allowed = 0, min(limit, LOOK_UP_EVERY)
        self._wake_reader = wake_reader
        self._wake_writer = wake_writer
        self._lock = threading.Lock()
        self._items: list[T] = []
        # So many of the items have been measured, to this size.
        self._counted = self._counted_size = 0
        # Whether the next item makes it look up, however little was added.
        self._look = False
        self._look_always = False
        self._reader_waits = False
        self._reader_rests = False
        self._writer_waits = False
        # Whether the reader was waiting when the writer last looked up.
        self.reader_waited = False
        # What there was at the last `take`, in units of the limit.
        self.taken_size = 0
        self.stopped = False
        self.finished = False
        self.error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._items)

    # the producer's side

    def fill(self, items: Iterator[Any], goes_on: Callable[[], bool]) -> bool:
        """Encode and add items until there are no more (True), or `goes_on()` is false (False).

        That is asked when there is reason to look up: the reader was waiting, nobody wants more, a
        little more was added, or there may be no room left. `has_room` tells.
        """
        append, encode, measure = self._items.append, self._encode, self._measure
        exact, quick = self._quick
        added, allowed = self._added, self._allowed
        for item in items:
            data = quick(item) if type(item) is exact else encode(item)
            append(data)
            added += measure(data) + 1
            if added >= allowed or self._look:
                self._look_up()
                if not goes_on():
                    return False
                added, allowed = 0, self._allowed
        self._added = added
        return True

    async def afill(self, items: AsyncIterator[Any], goes_on: Callable[[], bool]) -> bool:
        """`fill`, from an async iterator."""
        # The same loop: what the two could share would be called, and paid for, at each item.
        append, encode, measure = self._items.append, self._encode, self._measure
        exact, quick = self._quick
        added, allowed = self._added, self._allowed
        async for item in items:
            data = quick(item) if type(item) is exact else encode(item)
            append(data)
            added += measure(data) + 1
            if added >= allowed or self._look:
                self._look_up()
                if not goes_on():
                    return False
                added, allowed = 0, self._allowed
        self._added = added
        return True

    def add(self, data: T) -> None:
        """Add what needs no encoding, whether there is room or not."""
        self._items.append(data)
        self._look_up()

    def _look_up(self) -> None:
        with self._lock:
            size = self._size()
            self._added, self._allowed = 0, min(self._limit - size, LOOK_UP_EVERY)
            self.reader_waited = self._reader_waits
            wake = self._reader_waits or (self._reader_rests and size >= self._limit)
            self._reader_waits = False
            self._look = self.stopped or self._look_always
        if wake:
            self._wake_reader()

    def _size(self) -> int:
        if self._counted == len(self._items):
            return self._counted_size
        fresh = self._items[self._counted :]
        self._counted += len(fresh)
        self._counted_size += sum(map(self._measure, fresh)) + len(fresh)
        return self._counted_size

    def look_always(self, always: bool) -> None:
        """Let every item make it look up, as a producer wants whose items take long."""
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
            self.taken_size = self._size()
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
            # Every item is followed by a look at this flag, so that the next one says it.
            self._look = True
            wake, self._writer_waits = self._writer_waits, False
        if wake:
            self._wake_writer()
