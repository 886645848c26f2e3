"""Bodies that are compressed where their items are encoded: on the loop, or on a thread.

Whoever compresses flushes when nothing more is ready. So a live item leaves at once, and a flood
is compressed in batches, which takes fewer bytes.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from streamkit.body.base import Body, Coding
from streamkit.body.queue import Queue
from streamkit.body.threaded import ThreadedBody
from streamkit.closing import first_of
from streamkit.compress import Coder
from streamkit.encoders.relay import Partial

__all__ = ["CompressedBody", "CompressedQueue", "compressed"]

# Plain bytes that a thread gathers before it compresses them: a call for each item costs more than
# the item, and the loop, which may have to do it for the thread, does not feel one for these.
BATCH = 32768


def compressed(body: Body, choose: Callable[[], Coder]) -> CompressedBody:
    """The body, compressed by the coder that `choose` gives when the first item is there."""
    kind = _ThreadCompressedBody if isinstance(body, ThreadedBody) else CompressedBody
    return kind(body, choose)


class CompressedBody:
    """Compresses what a body has ready, in the task that asks for it."""

    def __init__(self, body: Body, choose: Callable[[], Coder]) -> None:
        self._body = body
        self.threaded: ThreadedBody | None = body if isinstance(body, ThreadedBody) else None
        self._choose = choose
        self._coder: Coder | None = None
        # Chunks of the content in what was given so far.
        self.items: int = 0

    @property
    def name(self) -> str:
        return self._body.name

    @property
    def finished(self) -> bool:
        return self._body.finished

    @property
    def error(self) -> BaseException | None:
        return self._body.error

    def start(self, coding: Coding) -> None:
        self._body.start(coding)

    async def ready(self) -> list[bytes]:
        chunks = await self._body.ready()
        self.items += len(chunks)
        is_whole = self._body.finished and self._body.error is None
        if not (chunks or is_whole):
            return []
        made = self._compress(b"".join(chunks), last=is_whole)
        # What is compressed ends within a frame where its last chunk does.
        return [Partial(each) for each in made] if chunks and type(chunks[-1]) is Partial else made

    def frame(self, data: bytes, *, last: bool = False) -> list[bytes]:
        """Compress what is sent beside the items; gives all that is to be sent now."""
        return self._compress(data, last=last)

    def _compress(self, data: bytes, *, last: bool) -> list[bytes]:
        if self._coder is None:
            self._coder = self._choose()
        coder = self._coder
        made = coder.compress(data) if data else b""
        if last:
            made += coder.finish()
        elif data:
            made += coder.flush()
        return [made] if made else []

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any] | None:
        return self._body.shield(sending)

    def stop(self) -> bool:
        return self._body.stop()

    def kill(self) -> None:
        if kill := getattr(self._body, "kill", None):
            kill()

    async def aclose(self) -> None:
        await self._body.aclose()


class _ThreadCompressedBody(CompressedBody):
    """The same for sync content, whose thread compresses."""

    _body: ThreadedBody

    def start(self, coding: Coding) -> None:
        coding.make_queue = self._make_queue
        self._body.start(coding)

    def _make_queue(self, coding: Coding, **wakers: Callable[[], None]) -> CompressedQueue:
        self._queue = CompressedQueue(coding, self._choose, **wakers)
        return self._queue

    async def ready(self) -> list[bytes]:
        chunks: list[bytes] = await self._body.ready()
        self.items = self._queue.items
        return chunks

    def frame(self, data: bytes, *, last: bool = False) -> list[bytes]:
        return self._queue.frame(data, last=last)


class CompressedQueue(Queue):
    """A queue of plain chunks on one side, and of compressed ones on the other.

    The producer compresses when a batch has come together, or the reader waits; then it flushes
    too. What it leaves while it makes its next item, the reader compresses and flushes itself.
    Both hold the lock meanwhile, which also keeps the compressed chunks in order. The reader never
    waits for it: the producer, once it has let go of it, looks whether the reader waits.
    """

    __slots__ = (
        "_choose",
        "_coder",
        "_ended",
        "_has_unflushed",
        "_is_partial",
        "_lock",
        "_made",
        "_packed",
        "_pending",
        "items",
    )

    reader_waiting: bool

    def __init__(
        self,
        coding: Coding,
        choose: Callable[[], Coder],
        *,
        wake_reader: Callable[[], None],
        wake_writer: Callable[[], None],
    ) -> None:
        super().__init__(coding, wake_reader=wake_reader, wake_writer=wake_writer)
        self._choose = choose
        self._coder: Coder | None = None
        self._lock = threading.Lock()
        # Compressed chunks, with the size and the number of the plain ones that each stands for.
        self._made: list[tuple[bytes, int, int]] = []
        # Size and number of the chunks that the coder took and gave nothing for yet.
        self._pending = (0, 0)
        # The size of all chunks that the coder took.
        self._packed = 0
        self._has_unflushed = self._ended = False
        # Whether the coder's last chunk ends within a frame.
        self._is_partial = False
        # Chunks of the content in what was taken.
        self.items: int = 0

    # the producer's side

    def _check(self, added: int) -> None:
        if not self.stopped and (
            self.reader_waiting or self._added + added - self._packed >= BATCH
        ):
            with self._lock:
                self._pack(flush=self.reader_waiting)
        super()._check(added)

    def finish(self, error: BaseException | None = None) -> None:
        if not (self.finished or self.stopped):
            try:
                with self._lock:
                    self._pack(flush=error is not None, last=error is None)
            except Exception as exc:
                error = first_of(error, exc)
        super().finish(error)

    # the reader's side

    @property
    def drained(self) -> bool:
        return self.finished and not self._made

    def is_idle(self) -> bool:
        if self._made or self.finished:
            return False
        self.reader_waiting = True
        self.attention = True
        if not self.stopped and (self._items or self._has_unflushed):
            self._pack_for_producer()
        if self._made or self.finished:
            self.reader_waiting = False
            return False
        return True

    def _pack_for_producer(self) -> None:
        if self._lock.acquire(blocking=False):
            try:
                self._pack(flush=True)
            finally:
                self._lock.release()

    def take(self, most: int | None = None) -> list[Any]:
        made = self._made[:most]
        if made:
            del self._made[: len(made)]
            self._taken += sum(size for _, size, _ in made)
            self.items += sum(count for _, _, count in made)
            if self.writer_waiting:
                self.writer_waiting = False
                self._wake_writer()
        return [data for data, _, _ in made]

    def frame(self, data: bytes, *, last: bool) -> list[bytes]:
        """Compress what is sent beside the chunks; gives all that is to be sent now.

        It is left out where the thread has begun a frame since it was asked for.
        """
        with self._lock:
            self._pack(data, flush=True, last=last)
        return self.take()

    # either side's, with the lock

    def _pack(self, frame: bytes = b"", *, flush: bool = False, last: bool = False) -> None:
        if self._ended:
            return
        if self._coder is None:
            self._coder = self._choose()
        coder = self._coder
        # Slice, then delete by length: an item appended in between survives.
        chunks = self._items[:]
        sizes = self._sizes[: len(chunks)]
        del self._items[: len(chunks)], self._sizes[: len(chunks)]
        size, count = self._pending
        taken = sum(sizes)
        self._packed += taken
        size, count = size + taken, count + len(chunks)
        if chunks:
            self._is_partial = type(chunks[-1]) is Partial
        if self._is_partial:
            frame = b""
        data = b"".join([*chunks, frame])
        made = coder.compress(data) if data else b""
        self._has_unflushed = self._has_unflushed or bool(data)
        if last:
            made += coder.finish()
            self._ended = True
        elif flush and self._has_unflushed:
            made += coder.flush()
            self._has_unflushed = False
        if made or (count and not self._has_unflushed):
            # Chunks that are all empty make nothing, and are taken all the same, to make room.
            made = Partial(made) if self._is_partial else made
            self._made.append((made, size, count))
            size = count = 0
        self._pending = (size, count)
