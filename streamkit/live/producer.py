"""Drives the content of a run in a task of its own, and appends its items to the log."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine, Generator
from time import monotonic
from types import coroutine
from typing import Any

import anyio

from streamkit import loop
from streamkit.body.following import async_followed
from streamkit.closing import close_async, first_of
from streamkit.live.errors import LogUnavailable, RunEnded
from streamkit.live.log import Log
from streamkit.live.memory import MemoryLog
from streamkit.live.records import END, Payload, Record, end_payload, payload_of
from streamkit.live.tail import EXPIRED, Tail

__all__ = ["Producer"]

logger: logging.Logger = logging.getLogger("streamkit")

# Seconds for which content that never waits may keep the loop.
SLICE = 0.001
# Items, and their bytes, that may wait for the log before their content does.
BACKLOG, MOST = 1024, 1024 * 1024


class Producer:
    """One run whose content is driven here.

    The task takes and encodes an item, and appends it: at once to a log in memory, and in
    batches, by a second task, to one that is elsewhere. However the run ends, the content is
    closed first, what was taken before is appended, and then the end.
    """

    def __init__(
        self,
        log: Log,
        run: str,
        content: AsyncIterable[Any],
        tail: Tail,
        *,
        linger: float | None,
        ttl: float,
        on_closed: Callable[[Producer], None],
    ) -> None:
        self.run = run
        self.linger = linger
        self.tail = tail
        # When its last reader left; None while there is one.
        self.unread_since: float | None = monotonic()
        self.had_reader = False
        self.closed: anyio.Event = anyio.Event()
        self._log = log
        self._ttl = ttl
        self._content = content
        self._iterator: AsyncIterator[Any] | None = None
        self._on_closed = on_closed
        self._count = 0
        # How often the loop had its turn while items were taken.
        self._turns = 0
        self._pending: list[Payload] = []
        self._size = 0
        self._appending = False
        self._appended = loop.make_signal()
        # Once the log has failed, this process alone goes on.
        self._log_error: Exception | None = None
        self._minted = 0
        self._error: BaseException | None = None
        self._stopped: Payload | None = None
        # Whether the content has ended: on asyncio a cancellation would reach the cleanup.
        self._finishing = False
        self._task: loop.Task | None = None
        tail.is_produced_here = True
        tail.on_end = self._on_end

    @property
    def lingers(self) -> bool:
        """Whether it ends when it has no readers, and has not begun to."""
        return self.linger is not None and self._stopped is None and not self._finishing

    def start(self) -> None:
        """Begin; in the context of the request."""
        self._task = loop.spawn(self._drive, self._finish)

    def stop(self, end: Payload) -> None:
        """End the run as `end` says, unless it has come to an end; closes the content."""
        if self._stopped is None and self._task is not None and not self._finishing:
            self._stopped = end
            self._task.cancel()

    def kill(self) -> None:
        """Cancel the content's cleanup as well."""
        if self._task is not None:
            self._task.kill()

    def _on_end(self, record: Record) -> None:
        # Somebody else may have written it: cancelled, or thought this process dead.
        self.stop(Payload(END, record.data))

    async def _drive(self) -> None:
        try:
            await self._count_turns(self._take_items())
        except BaseException as exc:
            self._error = exc
        self._finishing = True

    @coroutine
    def _count_turns(self, taking: Coroutine[Any, Any, None]) -> Generator[Any, Any, None]:
        """Count the turns that the loop has while items are taken: content may never wait."""
        step: Callable[[Any], Any] = taking.send
        argument: Any = None
        while True:
            try:
                trap = step(argument)
            except StopIteration:
                return
            self._turns += 1
            step = taking.send
            try:
                argument = yield trap
            except BaseException as exc:
                step, argument = taking.throw, exc

    async def _take_items(self) -> None:
        if self._stopped is not None:
            return
        self._iterator = async_followed(aiter(self._content))
        turns, until = 0, monotonic() + SLICE
        append_now = None
        # A subclass may append in a way of its own.
        if isinstance(self._log, MemoryLog) and type(self._log).append is MemoryLog.append:
            append_now = self._log.append_now
        async for item in self._iterator:
            payload = payload_of(item)
            if append_now is None or self._log_error is not None:
                await self._append(payload)
            else:
                try:
                    append_now(self.run, self._count, payload)
                    self._count += 1
                except RunEnded as exc:
                    # It expired, or was removed to make room, while it ran; or has ended.
                    self.tail.feed([exc.end or EXPIRED])
            if self._stopped is not None:
                return
            if turns != self._turns:
                turns, until = self._turns, monotonic() + SLICE
            elif monotonic() > until:
                # Content that never waits would keep the loop from all others.
                await loop.checkpoint()

    async def _append(self, payload: Payload) -> None:
        if self._log_error is not None:
            self._feed([payload])
        elif not self._log.remote:
            await self._append_all([payload])
        else:
            self._pending.append(payload)
            self._size += len(payload.data)
            if not self._appending:
                self._appending = True
                loop.spawn(self._append_pending)
            while self._is_full and self._log_error is None:
                await self._appended.wait()

    @property
    def _is_full(self) -> bool:
        return len(self._pending) > BACKLOG or self._size > MOST

    async def _append_pending(self) -> None:
        while self._pending:
            batch, self._pending, self._size = self._pending, [], 0
            await self._append_all(batch)
            self._appended.set()
        self._appending = False
        self._appended.set()

    async def _append_all(self, batch: list[Payload]) -> None:
        if self.tail.end is not None:
            # The log may have another run of that name.
            return
        if self._log_error is not None:
            self._feed(batch)
            return
        try:
            ids = await self._appended_ids(batch)
        except Exception as exc:
            self._log_failed(exc)
        else:
            self._count += len(ids)
            if ids and self._log.remote:
                records = zip(ids, batch, strict=True)
                self.tail.feed([Record(id_, *payload) for id_, payload in records])
            return
        # What was appended, and read back, before its reply was lost is there already.
        self._feed(batch[max(self.tail.top - self._count, 0) :])

    async def _appended_ids(self, batch: list[Payload]) -> list[str]:
        """The ids that the log has given, or none where the run has come to its end."""
        try:
            return await self._log.append(self.run, self._count, batch)
        except RunEnded as exc:
            end = exc.end or await self._log.end(self.run, end_payload("failed"), ttl=self._ttl)
        if end is None:
            raise LogUnavailable("the run is no longer in the log")
        self.tail.feed([end])
        return []

    def _log_failed(self, error: Exception) -> None:
        self._log_error = error
        # Others think this producer lost, and write its end, once they have the log back.
        if self.tail.unsubscribe is not None:
            self.tail.unsubscribe()
            self.tail.unsubscribe = None
        logger.error("run %r goes on for the readers of this process only: %s", self.run, error)

    def _feed(self, batch: list[Payload]) -> None:
        """Give to the readers here what the log could not take."""
        for payload in batch:
            self._minted += 1
            # Sorts behind what the log gave, and no log knows it: who comes back gets a 410.
            id_ = f"{self.tail.last[:24]}~{self._minted:010d}"
            self.tail.feed([Record(id_, *payload)])

    async def _finish(self) -> None:
        """The cleanup: it is not reached by the cancellation that stopped the content."""
        closing = await close_async(self._iterator, self._content)
        while self._appending:
            await self._appended.wait()
        await self._write_end(closing)
        self._on_closed(self)
        self.closed.set()

    async def _write_end(self, closing: BaseException | None) -> None:
        error = self._error
        if self._stopped is not None and isinstance(error, anyio.get_cancelled_exc_class()):
            error = None
        error = first_of(error, closing)
        if error is not None:
            logger.error("the content of run %r failed", self.run, exc_info=error)
        if self._stopped is not None:
            payload = self._stopped
        elif error is not None:
            payload = end_payload("failed", type(error).__name__)
        else:
            payload = end_payload("done")
        if self.tail.end is not None:
            return
        if self._log_error is None:
            try:
                end = await self._log.end(self.run, payload, ttl=self._ttl)
            except Exception as exc:
                self._log_failed(exc)
            else:
                if end is not None:
                    self.tail.feed([end])
                    return
        if self.tail.end is None:
            self._feed([payload])
