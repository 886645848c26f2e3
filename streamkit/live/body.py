"""The body of a response that follows a stream: no task, no queue and no generator of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Coroutine
from time import monotonic
from typing import Any, Protocol

from streamkit import loop
from streamkit.body.base import LOOP_SLICE, Coding, Pusher
from streamkit.live.reader import Reader

__all__ = ["ReaderBody"]


class Followed(Protocol):
    """The content; it makes the reader, and lets it go."""

    async def reader(self) -> Reader: ...
    def release(self) -> None: ...


class ReaderBody:
    """Takes chunks from a reader, in the task that sends them."""

    __slots__ = (
        "_coding",
        "_content",
        "_is_first",
        "_reader",
        "_sender",
        "_signal",
        "_until",
        "error",
        "finished",
    )

    def __init__(self, content: Followed) -> None:
        self._content = content
        self._reader: Reader | None = None
        self._coding: Coding | None = None
        # With both it sends from the loop what comes while its task waits.
        self._sender: Pusher | None = None
        self._signal: loop.Signal | None = None
        self._is_first = True
        # When the loop has to have its turn; 0 after a wait.
        self._until = 0.0
        self.finished: bool = False
        self.error: BaseException | None = None

    def start(self, coding: Coding) -> None:
        self._coding = coding

    def use_sender(self, sender: Pusher) -> None:
        """Push items into this from the loop."""
        self._sender, self._signal = sender, loop.make_signal()

    async def ready(self) -> list[Any]:
        assert self._coding is not None
        chunks: list[Any] = []
        try:
            reader = self._reader
            if reader is None:
                reader = self._reader = await self._content.reader()
            chunk = reader.take()
            if chunk is None:
                self._until = 0.0
                while chunk is None:
                    if self._sender is None or not reader.flows:
                        await reader.wait()
                    elif not await self._wait_and_push(reader, self._sender):
                        return chunks
                    chunk = reader.take()
            else:
                await self._give_turns()
            if reader.flows and chunk:
                # All that is there.
                self._is_first = False
                chunks.append(chunk)
            else:
                self._gather(reader, chunk, chunks)
        except StopAsyncIteration:
            self._end()
            if tail := self._coding.finish():
                chunks.append(tail)
        except Exception as exc:
            self.error = exc
            self._end()
        return chunks

    async def _wait_and_push(self, reader: Reader, sender: Pusher) -> bool:
        """Wait while items are pushed; False if a `send` waits, which the task is to finish."""
        assert self._signal is not None
        idle = reader.tail.idle
        idle[self] = None
        try:
            await self._signal.wait()
        finally:
            idle.pop(self, None)
        return sender.waits

    def push(self) -> bool:
        """Send what has come, from the loop; False if that is left to the task, which wakes up."""
        reader, sender = self._reader, self._sender
        assert reader is not None
        assert sender is not None
        assert self._signal is not None
        if sender.waits and sender.is_plain and (chunk := reader.flow()) is not None:
            if sender.push(chunk, sender.begin) and reader.is_level:
                return True
        elif sender.waits and reader.is_level and reader.tail.error is None:
            # It has all of it.
            return True
        self._signal.set()
        return False

    def _gather(self, reader: Reader, chunk: Any, chunks: list[Any]) -> None:
        """All that is there, up to the size of a batch; the first chunk leaves alone."""
        size, most = 0, self._coding.max_buffer if self._coding is not None else 0
        while chunk is not None:
            if chunk:
                chunks.append(chunk)
                size += len(chunk)
            if size >= most or (size and self._is_first):
                break
            chunk = reader.take()
        self._is_first = False

    async def _give_turns(self) -> None:
        """Content that is all there would keep the loop from all others."""
        now = monotonic()
        if not self._until:
            self._until = now + LOOP_SLICE
        elif now >= self._until:
            await loop.checkpoint()
            self._until = 0.0

    def _end(self) -> None:
        self._content.release()
        self._reader = None
        self.finished = True

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any] | None:
        # No scope of the content is around a `send`.
        return sending if self._sender is None else loop.begin(sending)

    def stop(self) -> bool:
        return True

    async def aclose(self) -> None:
        if not self.finished:
            self._end()
