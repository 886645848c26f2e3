"""One response on its way to its client, and who does what.

Two tasks serve a stream. The request's own task listens for the disconnect. The content's task
opens the content and sends it (`Sender`): on asyncio it drives an async content by hand. Whatever
ends the response, the content's task closes the content; then `on_close` is told; then a failure
is made visible on the wire, and raised (`Ending`). All limits of time are kept by one timer
(`Watch`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from streamkit import loop
from streamkit.asgi.listen import UnsharedBody, inbox_of, share_body
from streamkit.asgi.writer import ClientLeft, State, Writer
from streamkit.body.base import Body, Coding
from streamkit.body.threaded import ThreadedBody
from streamkit.closing import close_async
from streamkit.ending import Ending, failure, tell_given_up
from streamkit.errors import ClientTooSlow, GraceExceeded
from streamkit.observing import Observation, Progress, Waiting
from streamkit.outcome import Reason, StreamOutcome
from streamkit.sender import Frames, Sender
from streamkit.watch import Limits, Watch

__all__ = ["Transfer"]

logger = logging.getLogger("streamkit")


class Transfer:
    """One response, from its first step to the closing of its content."""

    _task: loop.Task

    def __init__(
        self,
        scope: Scope,
        send: Send,
        writer: Writer,
        coding: Coding,
        limits: Limits,
        frames: Frames,
        content: object,
        open_body: Callable[[], Awaitable[Body | None]],
        owned: Sequence[Any],
    ) -> None:
        self.scope = scope
        self.writer = writer
        self.ending = Ending(scope, send, writer)
        self.sender = Sender(writer, frames)
        self._watch = Watch(self, self.ending, self.sender, limits)
        self._late = limits.first_chunk_timeout == 0
        self._coding = coding
        # What may hold the request, whose body it is going to read.
        self._content = content
        self._open_body = open_body
        # Closed with the body: it, if it was not opened, and what else belongs to the response.
        self._owned = owned
        self._body: Body | None = None
        # Whether a cancellation of the content's task would reach the content.
        self._cancellable = False
        # Whether the content is open, and whether the request's own task has had its turn.
        self._opened = self._attended = False
        self._served = self._closed = self._killed = False
        self._closed_event: anyio.Event | None = None
        self._listening: anyio.CancelScope | None = None

    # in the request's own task

    def observe(self, observation: Observation) -> None:
        """Tell an observer how it goes."""
        self.sender.observation = observation

    async def run(self, receive: Receive) -> BaseException | None:
        """Send it all, listening meanwhile; returns the cancellation of this task, if any."""
        inbox = inbox_of(self.scope, receive) if self.scope["type"] == "http" else None
        if inbox is not None:
            share_body(self._content, self.scope, receive, inbox)
        self._task = loop.spawn(self._serve_to_end, self._close_all)
        cancellation: BaseException | None = None
        try:
            # The turn in which a short stream that never waits comes to its end.
            await loop.checkpoint()
            self._attended = True
            if self._opened and not self._served:
                self._watch.begin()
            if not self._served and inbox is not None:
                with anyio.CancelScope() as self._listening:
                    if await inbox.listen():
                        self._client_left()
                    else:
                        await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            cancellation = exc
            self.end("cancelled", exc)
        except UnsharedBody as exc:
            self.end("error", exc)
        if not self._closed:
            cancellation = await self._wait_closed() or cancellation
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
            self._watch.client_left()
        else:
            self.end("disconnect", None)

    @property
    def outcome(self) -> StreamOutcome:
        """How it ended."""
        sender, body = self.sender, self._body
        first = sender.first_chunk_at
        return self.ending.outcome(
            None if body is None else body.error,
            None if first is None else first - self._watch.began,
            sender.items,
        )

    def progress(self) -> Progress:
        """How far it has come, as `open_streams` shows it."""
        writer, sender = self.writer, self.sender
        now = writer.clock()
        return Progress(
            now - self._watch.began,
            writer.bytes_sent,
            None if sender.last_item is None else max(0.0, now - sender.last_item),
            None if writer.last_sent is None else max(0.0, now - writer.last_sent),
            self._waiting(),
        )

    def _waiting(self) -> Waiting:
        if isinstance(self._body, ThreadedBody) and self._body.waits_for_thread:
            return "thread"
        return "content" if self.sender.waits or self._body is None else "client"

    # in the content's task

    async def _serve_to_end(self) -> None:
        self._cancellable = True
        try:
            await self._serve()
        finally:
            self._cancellable = False

    async def _serve(self) -> None:
        try:
            body = await self._open()
            if body is None or self.ending.reason is not None:
                return
            if self._late:
                await self._start_late()
            await self.sender.send_all(body)
            if self.sender.shuts_down and not self.writer.complete:
                await self._say_farewell()
        except ClientLeft as exc:
            self.end("disconnect", exc.__cause__, cancel=False)
        except ClientTooSlow as exc:
            self.end("timeout", exc, cancel=False)
        except BaseException as exc:
            self.end("error", failure(exc), cancel=False)
            if isinstance(exc, GeneratorExit) and not loop.on_loop():
                raise

    async def _open(self) -> Body | None:
        """Open the content in its own time, and start its body."""
        if self.ending.reason is not None:
            return None
        body = self._body = await self._open_body()
        if body is not None and self.ending.reason is None:
            self._opened = True
            if self._attended:
                self._watch.begin()
            body.start(self._coding)
        return body

    async def _start_late(self) -> None:
        await self.sender.start_late()
        if self.writer.complete:
            # HEAD: the content is not needed any further.
            self.stop()

    async def _say_farewell(self) -> None:
        if self.sender.frames.between() and self.ending.reason is None:
            self.ending.decide("cancelled", None)
            await self.sender.say_farewell()
            self.stop()

    async def _close_all(self) -> None:
        """Close the content, and end a response that has not started."""
        self._served = True
        self.sender.waits = False
        if self._listening is not None:
            self._listening.cancel()
        await self.sender.wait_aside()
        body = self._body
        left = [each for each in self._owned if each is not body]
        if body is not None and body.finished and not left:
            self._watch.cancel()
        else:
            self._watch.cleanup_begins()
        try:
            if body is not None:
                self.writer.shield = None
                await body.aclose()
            if (error := await close_async(*left)) is not None:
                raise error
        except BaseException as exc:
            if not self._killed:
                self.ending.error = self.ending.error or exc
                if isinstance(exc, GeneratorExit) and not loop.on_loop():
                    self._set_closed()
                    raise
        if self._killed and isinstance(body, ThreadedBody) and not body.finished:
            tell_given_up(body)
        await self._end_unstarted()
        self._set_closed()

    async def _end_unstarted(self) -> None:
        """A response that ends before its start still has one, or relays above it fail."""
        reason = self.ending.reason
        if self.writer.started or reason not in ("disconnect", "cancelled"):
            return
        if reason == "cancelled":
            if isinstance(self.ending.error, GraceExceeded):
                return
            self.writer.status = 503
        try:
            await self.writer.end_empty()
        except Exception:
            logger.debug("nobody took the end of a response", exc_info=True)

    def _set_closed(self) -> None:
        self._closed = True
        self._watch.end()
        if self._closed_event is not None:
            self._closed_event.set()

    # from anywhere on the loop

    def end(self, reason: Reason, error: BaseException | None, *, cancel: bool = True) -> None:
        """End the response; the first reason stands."""
        self.ending.decide(reason, error)
        self.sender.stop()
        if cancel:
            self.stop()

    def stop(self) -> None:
        """Stop the content."""
        cancel = self._body is None or self._body.stop()
        self._watch.cleanup_begins()
        if cancel and self._cancellable:
            # Once: the content's own cleanup, which comes next, must be left to finish.
            self._cancellable = False
            self._task.cancel()

    def shut_down(self) -> None:
        """The app shuts down: an event stream ends here and now, all others go on."""
        sender = self.sender
        if sender.frames.ends_on_shutdown and not sender.shuts_down:
            sender.shut_down()
            if sender.is_waiting and sender.frames.between():
                sender.do_aside(self._say_farewell, self._aside_failed)

    def silent_since(self, last_item: float) -> float:
        """Since when the content is silent; it isn't while it waits for a thread to run on."""
        body = self._body
        if not isinstance(body, ThreadedBody):
            return last_item
        return self.writer.clock() if body.waits_for_thread else max(last_item, body.had_thread_at)

    def cut(self, closing: float) -> None:
        """End at once, as by an error; the content has `closing` seconds to be closed."""
        self._watch.allow(closing)
        self.end("cancelled", GraceExceeded())

    # by the timer

    def start_late(self) -> None:
        """Start the response though nothing is ready."""
        self.sender.do_aside(self._start_late, self._aside_failed)

    def keep_alive(self) -> None:
        """Send that the stream still lives."""
        self.sender.do_aside(self.sender.keep_alive, self._aside_failed)

    def _aside_failed(self, error: BaseException) -> None:
        if isinstance(error, ClientLeft):
            self.end("disconnect", error.__cause__)
        else:
            self.end("error", error)

    def give_up(self, allowed: float) -> bool:
        """Cancel the cleanup; True if that was done before, and the response goes on without."""
        if self._killed:
            tell_given_up(self._content)
            self._set_closed()
            return True
        self._killed = True
        logger.error("the content's cleanup took more than %s seconds", allowed)
        kill = getattr(self._body, "kill", None)
        if kill is not None:
            kill()
        self._task.kill()
        return False
