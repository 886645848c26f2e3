"""The one loop that sends a body, and the frames of the format between its items."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from streamkit import loop
from streamkit.asgi.writer import State, Writer
from streamkit.aside import Aside
from streamkit.body.base import Begin, Body
from streamkit.body.compressed import CompressedBody
from streamkit.encoders.relay import Partial

__all__ = ["Frames", "Sender"]

logger: logging.Logger = logging.getLogger("streamkit")


@dataclass(slots=True)
class Frames:
    """What is sent beside the items: bytes of the format, which go out between two frames."""

    keep_alive: Callable[[], bytes] | None = None
    opening: Callable[[], bytes] | None = None
    error: Callable[[BaseException], bytes] | None = None
    farewell: Callable[[], bytes] | None = None
    # Whether the body may end here and now when the app shuts down.
    ends_on_shutdown: bool = False
    between: Callable[[], bool] = lambda: True


class Sender:
    """Sends the chunks of one body, in the content's task."""

    __slots__ = (
        "_begun", "_last_type", "aside", "compressed", "first_chunk_at", "frames", "is_plain",
        "items", "last_item", "shuts_down", "stopped", "task", "waits", "writer",
    )  # fmt: skip

    def __init__(self, writer: Writer, frames: Frames) -> None:
        self.writer: Writer = writer
        self.frames: Frames = frames
        # The body, if it compresses what it gives; frames then go through it too.
        self.compressed: CompressedBody | None = None
        self.items: int = 0
        # On the loop's clock. An item is there when it was sent: the content did not run before.
        self.first_chunk_at: float | None = None
        self.last_item: float | None = None
        # Whether the body is waited for, and nothing is being sent.
        self.waits: bool = False
        # Set when the response ends otherwise: what is ready is not sent any more.
        self.stopped: bool = False
        # Set to end after what is ready now, with the farewell.
        self.shuts_down: bool = False
        self.aside: Aside = Aside()
        # Of what was sent of the content last.
        self._last_type: type = bytes
        # Whether a chunk is all there is to send, and nothing else to be looked at.
        self.is_plain: bool = False
        # The content's task, for `push`; and a `send` that it is to finish.
        self.task: loop.Task | None = None
        self._begun: Any = None

    async def send_all(self, body: Body) -> None:
        """Send all that the body gives, unless the app shuts down; raises its error."""
        writer, ended = self.writer, State.ENDED
        writer.shield = shield = body.shield
        use_sender = getattr(body, "use_sender", None)
        if use_sender is not None and self.task is not None and self.task.can_begin:
            use_sender(self)
        try:
            while writer.state is not ended:
                self.waits = True
                chunks = await body.ready()
                self.waits = False
                is_alone = self.is_plain and len(chunks) == 1 and not body.finished
                if is_alone and self.push(chunks[0], shield):
                    continue
                if (begun := self._begun) is not None:
                    # What may have come meanwhile is taken next.
                    self._begun = None
                    await begun
                    self.last_item = writer.last_sent
                    if self.shuts_down and self.is_between_frames:
                        return
                    continue
                if self.aside.is_on:
                    await self.aside.wait()
                # After all that may wait: what ended the response meanwhile stands.
                if self.stopped:
                    return
                await self._send_chunks(chunks, body)
                if self.shuts_down and self.is_between_frames:
                    return
        finally:
            if self._begun is not None:
                self._begun.close()

    @property
    def begin(self) -> Begin:
        """Takes the first step of a `send`, from the loop, in the content's task."""
        assert self.task is not None
        return self.task.begin

    def push(self, chunk: bytes, begin: Begin) -> bool:
        """Send an item that comes alone and `is_plain`, in the fewest steps.

        False if its `send` waits: the content's task then waits for the rest, as soon as `ready`
        returns. `begin` takes the first step, as for the writer.
        """
        self._last_type = type(chunk)
        writer = self.writer
        begun = writer.begin_body(chunk, begin)
        self.items += 1
        self.last_item = writer.last_sent
        if begun is None:
            return True
        self._begun = begun
        self.waits = False
        return False

    async def _send_chunks(self, chunks: list[bytes], body: Body) -> None:
        writer = self.writer
        # Looked at once: a thread may come to its end, and to an error, meanwhile.
        finished = body.finished
        error = body.error if finished else None
        if chunks and self.first_chunk_at is None:
            self.first_chunk_at = writer.clock()
        elif error is not None and not chunks and not writer.started:
            # It still can become a status.
            raise error
        if chunks:
            self._last_type = type(chunks[-1])
        await writer.write(chunks, last=finished and error is None)
        if chunks:
            compressed = self.compressed
            self.items = self.items + len(chunks) if compressed is None else compressed.items
            self.last_item = writer.last_sent
        if error is not None and not writer.complete:
            raise error
        self.is_plain = self.compressed is None and not (
            writer.head_only or writer.rates or self.stopped or self.shuts_down
        )

    async def _write_frame(self, frame: bytes, *, last: bool = False) -> None:
        """Send what stands between two items, compressed if they are."""
        if self.compressed is not None:
            chunks = self.compressed.frame(frame, last=last)
        else:
            chunks = [frame] if frame else []
        await self.writer.write(chunks, last=last)

    @property
    def can_tell_errors(self) -> bool:
        """Whether the format has a frame for an error, and it may come here."""
        started = self.writer.state is State.STARTED
        return started and self.frames.error is not None and self.is_between_frames

    async def tell_error(self, error: BaseException) -> None:
        """Send the format's frame for an error, if there is one; what comes of it is only logged.

        The error itself is what counts, and is raised by the response.
        """
        make = self.frames.error
        try:
            if make is not None and self.can_tell_errors and (frame := make(error)):
                await self._write_frame(frame)
        except (Exception, anyio.get_cancelled_exc_class()):
            logger.debug("the frame of an error was not sent", exc_info=True)

    def stop(self) -> None:
        """Send nothing more of the body."""
        self.stopped = True
        self.is_plain = False

    def shut_down(self) -> None:
        """End after what is ready now."""
        self.shuts_down = True
        self.is_plain = False

    async def start_late(self) -> None:
        """Start the response though nothing is ready."""
        opening = self.frames.opening
        await self._write_frame(b"" if opening is None else opening())

    async def say_farewell(self) -> None:
        """End the body here, between two frames of its format."""
        self.stop()
        farewell = self.frames.farewell
        await self._write_frame(b"" if farewell is None else farewell(), last=True)

    @property
    def can_keep_alive(self) -> bool:
        """Whether the format has something to send that is no item, and may do so here."""
        return self.frames.keep_alive is not None and self.is_between_frames

    async def keep_alive(self) -> None:
        """Send what says that the stream still lives."""
        assert self.frames.keep_alive is not None
        await self._write_frame(self.frames.keep_alive())

    @property
    def is_between_frames(self) -> bool:
        """Whether the format lets something be put behind what was sent.

        The encoder alone can't tell: on a thread it may be ahead of what was sent.
        """
        return self._last_type is not Partial and self.frames.between()

    @property
    def is_waiting(self) -> bool:
        """Whether the content is waited for, and nothing is being sent."""
        return self.waits and not (self.aside.is_on or self.stopped)

    def do_aside(
        self,
        function: Callable[[], Awaitable[object]],
        failed: Callable[[BaseException], None],
        *,
        last: bool = False,
    ) -> None:
        """Send something while the content's task waits for the content; `last`: at its end."""
        self.is_plain = False
        # It may be over before that task has its turn. Or chunks are ready, and come first: they
        # may be compressed already.
        self.aside.begin(
            self.writer, lambda: last or (self.waits and not self.stopped), function, failed
        )
