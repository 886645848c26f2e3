"""Bounded queue between a producer and one reader, on different threads or in different tasks.

No lock is taken, neither for an item nor to wait. A lock would be paid for each item, and the
garbage collector may run a `__del__` that stops the same queue while its thread holds the lock.
Instead each field has one writer, and each side sets its own flag before it reads what the other
side writes, so that one of the two always sees the other:

    producer    appends, then reads `reader_waiting`         sets `writer_waiting`, reads `_taken`
    reader      sets `reader_waiting`, reads the list        adds to `_taken`, then reads
                                                             `writer_waiting`
    stop        sets `stopped`, `attention`, then reads `writer_waiting`
    finish      sets `error`, `finished`, then reads `reader_waiting`

`attention` has two writers: the producer clears it before it reads the flags it stands for. A wake
too many is harmless: whoever waits looks again. This needs loads and stores in program order, as
the GIL gives them. No build without it promises that, and none is supported. `tests/test_queue.py`
stresses the queue, and lets each side act at the last moment before the other sets a flag.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any

from streamkit.body.base import ITEM_WEIGHT, Coding, Pace, blame

__all__ = ["Queue", "ThreadSignal"]


class ThreadSignal:
    """An event that resets itself, for one waiting thread; any number of threads may set it."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the waiter."""
        # An error: it is set already, perhaps by another thread just now.
        with suppress(RuntimeError):
            self._lock.release()

    def wait(self, timeout: float = -1) -> bool:
        """Block until set, and reset; False when `timeout` seconds passed instead."""
        return self._lock.acquire(timeout=timeout)


def _nobody() -> None:
    """Nobody waits for room any more."""


class Queue:
    """Bounded, first in first out.

    `limit` is what the producer may be ahead, in the coding's measure (bytes, for chunks) and
    `ITEM_WEIGHT` an item; one item may pass it. `wake_reader` and `wake_writer` must be callable
    from the other side's thread.
    """

    __slots__ = (
        "_added",
        "_coding",
        "_items",
        "_sizes",
        "_taken",
        "_wake_reader",
        "_wake_writer",
        "attention",
        "error",
        "finished",
        "reader_waiting",
        "stopped",
        "writer_waiting",
    )

    def __init__(
        self,
        coding: Coding,
        *,
        wake_reader: Callable[[], None],
        wake_writer: Callable[[], None],
    ) -> None:
        self._coding = coding
        self._wake_reader = wake_reader
        self._wake_writer = wake_writer
        self._items: list[Any] = []
        # The size of each, measured once, since an item may change later; appended before it.
        self._sizes: list[int] = []
        # Their sums: written by the producer when it checks, and by the reader.
        self._added = self._taken = 0
        self.attention: bool = True
        self.reader_waiting: bool = False
        self.writer_waiting: bool = False
        self.stopped: bool = False
        self.finished: bool = False
        self.error: BaseException | None = None

    # the producer's side

    def fill(self, items: Iterator[Any], pace: Pace, goes_on: Callable[[], bool]) -> bool:
        """Encode and add items until there are no more (True), or `goes_on()` is false (False).

        That is asked after `pace.allowed` bytes, and when the other side wants attention.
        """
        coding, append, append_size = self._coding, self._items.append, self._sizes.append
        encode, measure = coding.encode, coding.measure
        exact, quick = coding.exact, coding.quick
        added, allowed = 0, self._allowed(pace)
        item: Any = None
        try:
            for item in items:
                data = quick(item) if type(item) is exact else encode(item)
                size = measure(data) + ITEM_WEIGHT
                append_size(size)
                append(data)
                added += size
                if added >= allowed or self.attention:
                    self._check(added)
                    added = 0
                    if not goes_on():
                        return False
                    allowed = self._allowed(pace)
        except Exception as exc:
            blame(item, exc)
            raise
        self._added += added
        return True

    async def afill(
        self, items: AsyncIterator[Any], pace: Pace, goes_on: Callable[[], bool]
    ) -> bool:
        """`fill`, from an async iterator: the same loop, since a call for each item costs."""
        coding, append, append_size = self._coding, self._items.append, self._sizes.append
        encode, measure = coding.encode, coding.measure
        exact, quick = coding.exact, coding.quick
        added, allowed = 0, self._allowed(pace)
        item: Any = None
        try:
            async for item in items:
                data = quick(item) if type(item) is exact else encode(item)
                size = measure(data) + ITEM_WEIGHT
                append_size(size)
                append(data)
                added += size
                if added >= allowed or self.attention:
                    self._check(added)
                    added = 0
                    if not goes_on():
                        return False
                    allowed = self._allowed(pace)
        except Exception as exc:
            blame(item, exc)
            raise
        self._added += added
        return True

    def add(self, data: Any) -> None:
        """Add what needs no encoding, whether there is room or not."""
        size = self._coding.measure(data) + ITEM_WEIGHT
        self._sizes.append(size)
        self._items.append(data)
        self._check(size)

    def add_tail(self) -> None:
        """Add what closes a whole body."""
        if tail := self._coding.finish():
            self.add(tail)

    def _allowed(self, pace: Pace) -> int:
        room = self._coding.max_buffer - self._added + self._taken
        return min(pace.allowed, room)

    def _check(self, added: int) -> None:
        self._added += added
        self.attention = False
        if self.stopped:
            self.attention = True
        if self.reader_waiting:
            self.reader_waiting = False
            self._wake_reader()

    def has_room(self) -> bool:
        """Whether to produce on; if not, the writer is woken when that changes."""
        if self._fits():
            return True
        self.writer_waiting = True
        if self._fits():
            self.writer_waiting = False
            return True
        return False

    def _fits(self) -> bool:
        return self.stopped or self._added - self._taken < self._coding.max_buffer

    def finish(self, error: BaseException | None = None) -> None:
        """Say that nothing follows and that the content is closed."""
        if self.finished:
            return
        self.error = error
        self.finished = True
        # It holds what holds this queue: without a cycle, the memory is free at once.
        self._wake_writer = _nobody
        if self.reader_waiting:
            self.reader_waiting = False
            self._wake_reader()

    # the reader's side

    @property
    def drained(self) -> bool:
        """Whether it is finished and nothing is left to take."""
        return self.finished and not self._items

    def is_idle(self) -> bool:
        """Whether nothing is there and more may come; the reader is then woken when it does."""
        if self._items or self.finished:
            return False
        self.reader_waiting = True
        self.attention = True
        if self._items or self.finished:
            self.reader_waiting = False
            return False
        return True

    def take(self, most: int | None = None) -> list[Any]:
        """All items that are there, or the first `most`."""
        # Slice, then delete by length: an item appended in between survives.
        items = self._items[:most]
        if items:
            count = len(items)
            sizes = self._sizes[:count]
            del self._items[:count], self._sizes[:count]
            self._taken += sum(sizes)
            if self.writer_waiting:
                self.writer_waiting = False
                self._wake_writer()
        return items

    # anyone's, on any thread, also in a `__del__`

    def stop(self) -> None:
        """Ask the producer to stop."""
        self.stopped = True
        self.attention = True
        if self.writer_waiting:
            self.writer_waiting = False
            self._wake_writer()
