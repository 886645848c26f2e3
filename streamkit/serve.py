"""The one loop that sends a body, and how a response comes to its end.

Two tasks serve a stream. The request's own task listens for the disconnect. The content's task
runs `_serve`: on asyncio it drives an async content by hand, and sends what that gives. Whatever
ends the response, the content's task closes the content; then `on_close` is told; then a failure
is made visible on the wire, and raised.

All limits of time are kept by one timer, which looks at what happened last. It is set again only
when it rings, so that an item costs no timer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope, Send

from streamkit import loop
from streamkit.asgi.connection import Connection, connection_of, drop
from streamkit.asgi.listen import Inbox
from streamkit.asgi.truncate import truncate
from streamkit.asgi.writer import ClientLeft, State, Writer
from streamkit.body.base import Body, Coding
from streamkit.compress import Coder
from streamkit.encoders.relay import Partial
from streamkit.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    GraceExceeded,
    ItemTimeout,
    SendTimeout,
    ThreadTimeout,
)
from streamkit.observing import Observation, Waiting
from streamkit.outcome import Reason, StreamOutcome

__all__ = ["Frames", "Limits", "Transfer"]

logger = logging.getLogger("streamkit")

# Seconds a response waits on for content whose cleanup was cancelled, and still goes on.
LAST_RESORT = 1.0
# Seconds that a stalled client may keep waiting what makes a shutdown's cut visible.
CUT_PATIENCE = 0.5


@dataclass(slots=True)
class Limits:
    """Seconds; None for no limit."""

    first_chunk_timeout: float | None = None
    send_timeout: float | None = None
    item_timeout: float | None = None
    keep_alive: float | None = None
    cleanup_timeout: float | None = None
    deadline: float | None = None

    @property
    def after_start(self) -> bool:
        """Whether time is watched once the headers are out."""
        return not (
            self.send_timeout is self.item_timeout is self.keep_alive is self.deadline is None
        )


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


class Transfer:
    """One response on its way to its client."""

    def __init__(
        self,
        scope: Scope,
        send: Send,
        writer: Writer,
        coding: Coding,
        limits: Limits,
        frames: Frames,
        open_body: Callable[[], Awaitable[Body | None]],
        close: Callable[[], Awaitable[None]],
    ) -> None:
        self.scope = scope
        # Compresses what is sent, and is flushed when nothing more is ready.
        self.coder: Coder | None = None
        self.observation: Observation | None = None
        # As `open_streams` shows them; seconds of `time.monotonic()`.
        self.last_item: float | None = None
        self.last_send: float | None = None
        self._send = send
        self.writer = writer
        self._coding = coding
        self._limits = limits
        self._frames = frames
        self._open_body = open_body
        self._close = close
        self._body: Body | None = None
        self.began = monotonic()
        self._first_chunk_after: float | None = None
        self._items = 0
        self._timer: loop.Timer | None = None
        self._clock = loop.clock()
        self._opened_at = self._clock()
        self._last_item = 0.0
        # Why it ends: the first to say so decides.
        self._reason: Reason | None = None
        self.error: BaseException | None = None
        self._cancellable = False
        # Whether the client has left while the last message was on its way.
        self._left = False
        # Whether the body is waited for, and nothing is being sent.
        self._waits = self._sends = False
        # Whether what was sent last ends within a frame.
        self._within_frame = False
        # Whether the content is open, and whether the request's own task has had its turn.
        self._opened = self._attended = False
        # Set while something is sent beside the content, and the task that sends it.
        self._aside: anyio.Event | None = None
        self._aside_task: loop.Task | None = None
        self._shuts_down = False
        self._closing_since: float | None = None
        self._killed = False
        self._allowed = limits.cleanup_timeout
        self._task: loop.Task | None = None
        self._served = False
        self._closed = False
        self._closed_event: anyio.Event | None = None
        self._listening: anyio.CancelScope | None = None
        self.connection: Connection | None = connection_of(scope)

    # in the request's own task

    async def run(self, inbox: Inbox | None) -> BaseException | None:
        """Send it all, listening meanwhile; returns the cancellation of this task, if any."""
        self._task = loop.spawn(self._serve_to_end, self._close_all)
        cancellation: BaseException | None = None
        try:
            # The turn in which a short stream that never waits comes to its end.
            await loop.checkpoint()
            self._attended = True
            if self._opened and not self._served:
                self._watch()
            if not self._served and inbox is not None:
                with anyio.CancelScope() as self._listening:
                    if await inbox.listen():
                        self._client_left()
                    else:
                        await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            cancellation = exc
            self.end("cancelled", exc)
        if not self._closed:
            cancellation = await self._wait_closed() or cancellation
        return cancellation

    async def run_inline(self, body: Body) -> BaseException | None:
        """Send a body that is there as a whole, in this task."""
        self._body = body
        try:
            await self._serve_and_tell()
        except anyio.get_cancelled_exc_class() as exc:
            self.end("cancelled", exc)
            cancellation: BaseException | None = exc
        else:
            cancellation = None
        with anyio.CancelScope(shield=True):
            await self._close_all()
        return cancellation

    async def _wait_closed(self) -> BaseException | None:
        """Wait until the content is closed; no cancellation cuts that short."""
        cancellation: BaseException | None = None
        self._closed_event = anyio.Event()
        with anyio.CancelScope(shield=True):
            while not self._closed:
                try:
                    await self._closed_event.wait()
                except anyio.get_cancelled_exc_class() as exc:
                    cancellation = exc
                    self.end("cancelled", exc)
        return cancellation

    def _client_left(self) -> None:
        # hypercorn says so while it still handles the last message: it must not be cancelled.
        if self.writer.state is State.ENDING:
            self._left = True
            self._due_at(self._clock() + LAST_RESORT)
        else:
            self.end("disconnect", None)

    @property
    def bytes_sent(self) -> int:
        """Bytes of the body that the server has taken."""
        return self.writer.bytes_sent

    @property
    def waiting(self) -> Waiting:
        """What it waits for now."""
        if getattr(self._body, "waits_for_thread", False):
            return "thread"
        return "content" if self._waits or self._body is None else "client"

    @property
    def outcome(self) -> StreamOutcome:
        """How it ended."""
        reason = self._reason or "complete"
        error = self.error
        if error is None and self._body is not None and (found := self._body.error) is not None:
            error = found
            if isinstance(error, Exception) and reason != "error":
                # The response has ended otherwise: nobody else would hear of this.
                logger.error(
                    "the content of a response failed while it was stopped", exc_info=error
                )
        return StreamOutcome(
            reason,
            self.writer.bytes_sent,
            monotonic() - self.began,
            error,
            self.writer.status if self.writer.started else None,
            self._first_chunk_after,
            self._items,
        )

    async def show_failure(self) -> None:
        """Make it visible on the wire that the body is not whole."""
        reason, writer = self._reason, self.writer
        if reason in (None, "complete", "disconnect") or not writer.started or writer.complete:
            return
        error = self.error if self.error is not None else GraceExceeded()
        stalled = isinstance(error, SendTimeout | ClientTooSlow)
        if stalled and self.scope.get("http_version") == "1.1":
            drop({self.connection})
        patience = CUT_PATIENCE if isinstance(error, GraceExceeded) else None
        await truncate(self.scope, self._send, failure(error), patience)

    def raised(self) -> BaseException | None:
        """What the response has to raise, beside a cancellation."""
        error, started = self.error, self.writer.started
        if self._reason == "disconnect":
            return self._disconnect(error)
        if isinstance(error, GraceExceeded):
            return None if started else HTTPException(503)
        if error is None:
            return None
        if not started and isinstance(error, ItemTimeout | DeadlineExceeded):
            return _status(504, error)
        if not started and isinstance(error, ThreadTimeout):
            return _status(503, error)
        return failure(error)

    def _disconnect(self, cause: BaseException | None) -> BaseException | None:
        # From ASGI 2.4 on `send` raises an OSError, and an app ClientDisconnect.
        version = self.scope.get("asgi", {}).get("spec_version", "2.0")
        if cause is None or tuple(map(int, version.split("."))) < (2, 4):
            return None
        error = ClientDisconnect()
        error.__cause__ = cause
        return error

    # in the content's task

    async def _serve_to_end(self) -> None:
        self._cancellable = True
        try:
            await self._serve_and_tell()
        finally:
            self._cancellable = False

    async def _serve_and_tell(self) -> None:
        try:
            await self._serve()
        except ClientLeft as exc:
            self.end("disconnect", exc.__cause__, cancel=False)
        except ClientTooSlow as exc:
            self.end("timeout", exc, cancel=False)
        except BaseException as exc:
            if self._task is None and isinstance(exc, anyio.get_cancelled_exc_class()):
                # Sent in the request's own task: that is what was cancelled, not the content.
                raise
            if self._reason is None:
                self.end("error", failure(exc), cancel=False)
            if isinstance(exc, GeneratorExit) and not loop.on_loop():
                raise

    async def _serve(self) -> None:
        body = self._body if self._body is not None else await self._open()
        if body is None or self._reason is not None:
            return
        self.writer.shield = body.shield
        if self._limits.first_chunk_timeout == 0:
            await self._start_late()
        while not self.writer.complete:
            self._waits = True
            chunks = await body.ready()
            self._waits = False
            if self._aside is not None:
                await self._aside.wait()
            # After all that may wait: what ended the response meanwhile stands.
            if self._reason is not None:
                return
            await self._send_chunks(chunks, body)
            if self._shuts_down and self._reason is None and self._between_frames():
                await self._say_farewell()
                return

    async def _open(self) -> Body | None:
        """Open the content in its own time, and start its body."""
        if self._reason is not None:
            return None
        body = self._body = await self._open_body()
        if body is not None and self._reason is None:
            self._opened = True
            if self._attended:
                self._watch()
            body.start(self._coding)
        return body

    async def _send_chunks(self, chunks: list[bytes], body: Body) -> None:
        writer = self.writer
        # Looked at once: a thread may come to its end, and to an error, meanwhile.
        finished = body.finished
        error = body.error if finished else None
        is_first = self._first_chunk_after is None
        if chunks:
            self._within_frame = type(chunks[-1]) is Partial
            self._items += len(chunks)
            self.last_item = monotonic()
            if is_first:
                self._first_chunk_after = self.last_item - self.began
        elif error is not None and not writer.started:
            # It still can become a status.
            raise error
        self._sends = True
        await self._write(chunks, last=finished and error is None)
        self._sends = False
        if chunks:
            self.last_send = monotonic()
            if is_first and self.observation is not None:
                self.observation.info.status = writer.status
                self.observation.first_byte()
        if error is not None and not writer.complete:
            await self._send_error_frame(error)
            raise error
        if self._limits.after_start:
            self._last_item = writer.last_sent
        else:
            writer.clock = None

    async def _write(self, chunks: list[bytes], *, last: bool = False) -> None:
        """Send chunks, compressed if they are to be."""
        if (coder := self.coder) is not None and (chunks or last):
            data = coder.compress(b"".join(chunks)) + (coder.finish() if last else coder.flush())
            chunks = [data] if data else []
        await self.writer.write(chunks, last=last)

    async def _send_error_frame(self, error: BaseException) -> None:
        frames = self._frames
        if frames.error is not None and self._between_frames() and (frame := frames.error(error)):
            await self._write([frame])

    async def _close_all(self) -> None:
        """Close the content, and end a response that has not started."""
        self._served = True
        self._waits = False
        if self._listening is not None:
            self._listening.cancel()
        if self._body is not None and self._body.finished and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        else:
            self._watch_cleanup()
        # Each, whatever the others raise.
        for close in (self._end_aside, self._close_body, self._close):
            try:
                await close()
            except BaseException as exc:
                if isinstance(exc, GeneratorExit) and not loop.on_loop():
                    self.error = self.error or exc
                    self._set_closed()
                    raise
                if not self._killed:
                    self.error = self.error or exc
        await self._end_unstarted()
        self._set_closed()

    async def _end_aside(self) -> None:
        if self._aside is not None:
            self._cancel_aside()
            await self._aside.wait()

    async def _close_body(self) -> None:
        self.writer.shield = None
        if self._body is not None:
            await self._body.aclose()

    async def _end_unstarted(self) -> None:
        """A response that ends before its start still has one, or relays above it fail."""
        if self.writer.started or self._reason not in ("disconnect", "cancelled"):
            return
        if self._reason == "cancelled":
            if isinstance(self.error, GraceExceeded):
                return
            self.writer.status = 503
        try:
            await self.writer.end_empty()
        except Exception:
            logger.debug("nobody took the end of a response", exc_info=True)

    def _set_closed(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._closed_event is not None:
            self._closed_event.set()

    # from anywhere on the loop

    def end(self, reason: Reason, error: BaseException | None, *, cancel: bool = True) -> None:
        """End the response; the first reason stands."""
        if self._reason is None and not self.writer.complete:
            if reason == "disconnect" and self._has_sent_all():
                # Every byte is out: that the client leaves then is no error.
                reason, error = "complete", None
            self._reason, self.error = reason, error
        if cancel:
            self._stop()

    def _watch_cleanup(self) -> None:
        """From now on the content's cleanup is what takes time."""
        if self._closing_since is None:
            self._closing_since = self._clock()
            if self._allowed is not None:
                self._due_at(self._closing_since + self._allowed)
            elif self._timer is not None:
                self._timer.cancel()
                self._timer = None

    def _has_sent_all(self) -> bool:
        length = next((v for n, v in self.writer.headers if n.lower() == b"content-length"), None)
        return (
            length is not None
            and self.writer.started
            and length.isdigit()
            and int(length) == self.writer.bytes_sent
        )

    def _stop(self) -> None:
        cancel = self._body is None or self._body.stop()
        # Not in `ready`: it waits for the client, and disturbs no content that closes by itself.
        cancel = cancel or not self._waits
        self._cancel_aside()
        self._watch_cleanup()
        if cancel and self._cancellable and self._task is not None:
            # Once: the content's own cleanup, which comes next, must be left to finish.
            self._cancellable = False
            self._task.cancel()

    def shut_down(self) -> None:
        """The app shuts down: an event stream ends here and now, all others go on."""
        if not self._frames.ends_on_shutdown or self._shuts_down:
            return
        self._shuts_down = True
        if self._is_waiting() and self._between_frames():
            self._do_aside(self._end_with_farewell)

    def cut(self, closing: float) -> None:
        """End at once, as by an error; the content has `closing` seconds to be closed."""
        self._allowed = closing
        if self._closing_since is not None:
            self._due_at(self._clock() + closing)
        self.end("cancelled", GraceExceeded())

    async def _say_farewell(self) -> None:
        farewell = self._frames.farewell
        await self._write([farewell()] if farewell is not None else [], last=True)
        if self._reason is None:
            self._reason = "cancelled"

    async def _end_with_farewell(self) -> None:
        # The content may have begun a frame since this was asked for; it is then asked again.
        if self._between_frames():
            await self._say_farewell()
            self._stop()

    def _between_frames(self) -> bool:
        """Whether the format lets something be put behind what was sent.

        The encoder alone can't tell: on a thread it may be ahead of what was sent.
        """
        return not self._within_frame and self._frames.between()

    def _is_waiting(self) -> bool:
        """Whether the content is waited for, and nothing is being sent."""
        return self._waits and self._aside is None and self._reason is None

    def _do_aside(self, function: Callable[[], Awaitable[None]]) -> None:
        """Send something while the content's task waits for the content."""
        self._aside = done = anyio.Event()
        writer = self.writer

        async def send() -> None:
            # The shield is for the content's task.
            shield, writer.shield = writer.shield, None
            try:
                # It may be over before this task has its turn.
                if self._reason is None:
                    await function()
            except ClientLeft as exc:
                self.end("disconnect", exc.__cause__)
            except BaseException as exc:
                self.end("error", exc)
            finally:
                writer.shield = shield
                self._aside = self._aside_task = None
                done.set()

        self._aside_task = loop.spawn(send)

    def _cancel_aside(self) -> None:
        if self._aside_task is not None:
            self._aside_task.cancel()

    # time

    def _watch(self) -> None:
        """Set the timer for what is due first."""
        limits, writer = self._limits, self.writer
        now = self._clock()
        if limits.after_start or limits.first_chunk_timeout is not None:
            writer.clock = self._clock
            self._last_item = writer.last_sent = now
            if self._sends:
                writer.sending_since = now
            self._set_timer(now)

    def _due_at(self, due: float) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(due, self._ring)

    def _set_timer(self, now: float) -> None:
        limits, writer = self._limits, self.writer
        due = []
        if not writer.started and limits.first_chunk_timeout is not None:
            due.append(self._last_item + limits.first_chunk_timeout)
        since = writer.sending_since
        if limits.send_timeout is not None:
            due.append((now if since is None else since) + limits.send_timeout)
        if limits.item_timeout is not None:
            due.append((self._last_item if since is None else now) + limits.item_timeout)
        if limits.keep_alive is not None and writer.started:
            due.append((writer.last_sent if since is None else now) + limits.keep_alive)
        if limits.deadline is not None:
            due.append(self._opened_at + limits.deadline)
        if due:
            self._due_at(max(min(due), now + 0.001))

    def _ring(self) -> None:
        self._timer = None
        now = self._clock() + 0.0005
        if self._closing_since is not None:
            due = self._closing_since + (self._allowed or 0.0)
            if self._killed or (self._allowed is not None and now >= due):
                self._give_up()
            elif self._allowed is not None:
                # Set for something else before the cleanup began.
                self._due_at(due)
            return
        if self._left:
            self.end("disconnect", None)
            return
        if self._reason is not None:
            self._stop()
            return
        limits, writer = self._limits, self.writer
        if limits.deadline is not None and now >= self._opened_at + limits.deadline:
            self.end("timeout", DeadlineExceeded(limits.deadline))
            return
        since = writer.sending_since
        if since is not None:
            if limits.send_timeout is not None and now >= since + limits.send_timeout:
                self.end("timeout", SendTimeout(limits.send_timeout))
                return
        elif limits.item_timeout is not None and now >= self._last_item + limits.item_timeout:
            self.end("error", ItemTimeout(limits.item_timeout))
            return
        elif self._is_waiting():
            self._break_silence(now)
        self._set_timer(now)

    def _break_silence(self, now: float) -> None:
        limits, writer = self._limits, self.writer
        if not writer.started:
            wait = limits.first_chunk_timeout
            if wait is not None and now >= self._last_item + wait:
                self._do_aside(self._start_late)
        elif limits.keep_alive is not None and now >= writer.last_sent + limits.keep_alive:
            if self._frames.keep_alive is not None and self._between_frames():
                self._do_aside(self._send_keep_alive)
            else:
                writer.last_sent = now

    async def _start_late(self) -> None:
        opening = self._frames.opening
        await self._write([opening()] if opening is not None else [])
        if self.writer.complete:
            # HEAD: the content is not needed any further.
            self._stop()

    async def _send_keep_alive(self) -> None:
        assert self._frames.keep_alive is not None
        await self._write([self._frames.keep_alive()])

    def _give_up(self) -> None:
        """The cleanup takes too long: cancel it, and then go on without it."""
        if not self._killed:
            self._killed = True
            logger.error("the content's cleanup took more than %s seconds", self._allowed)
            kill = getattr(self._body, "kill", None)
            if kill is not None:
                kill()
            if self._task is not None:
                self._task.kill()
            self._due_at(self._clock() + LAST_RESORT)
        else:
            logger.error("a response goes on without its content, whose cleanup can't be cancelled")
            self._set_closed()


def _status(code: int, cause: BaseException) -> HTTPException:
    error = HTTPException(code)
    error.__cause__ = cause
    return error


def failure(error: BaseException) -> BaseException:
    """What to raise for a content's error: task groups take a cancellation for a clean end."""
    if isinstance(error, GeneratorExit):
        failed = RuntimeError("the content raised GeneratorExit")
    elif isinstance(error, anyio.get_cancelled_exc_class()):
        failed = RuntimeError("the content was cancelled, but not by its response")
    else:
        return error
    failed.__cause__ = error
    return failed
