"""One response on its way to its client, and who does what.

Two tasks serve a stream. The request's own task listens for the disconnect. The content's task
(`ContentTask`) opens the content and sends it (`Sender`): on asyncio it drives an async content by
hand. Whatever ends the response, the content's task closes the content; then `on_close` is told;
then a failure is made visible on the wire, and raised (`Ending`). All limits of time are kept by
one timer (`Watch`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from starlette.types import Receive, Scope, Send

from streamkit.asgi.listen import UnsharedBody, inbox_of, share_body
from streamkit.asgi.writer import ClientLeft, State, Writer
from streamkit.body.base import Body, Coding
from streamkit.body.threaded import threaded_body
from streamkit.content import ContentTask
from streamkit.ending import Ending
from streamkit.errors import ClientTooSlow, GraceExceeded
from streamkit.observing import Progress, Waiting
from streamkit.outcome import Reason, StreamOutcome
from streamkit.sender import Frames, Sender
from streamkit.watch import Limits, Watch

__all__ = ["Transfer"]


class Transfer:
    """One response, from its first step to the closing of its content."""

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
        self.ending: Ending = Ending(scope, send, writer)
        self.sender: Sender = Sender(writer, frames)
        self._watch = Watch(self, self.ending, self.sender, limits)
        late = limits.first_chunk_timeout == 0
        self._task = ContentTask(
            self.sender, self.ending, self._watch, coding, open_body, owned, late=late
        )
        # What may hold the request, whose body it is going to read.
        self._content = content

    # in the request's own task

    async def run(self, receive: Receive) -> BaseException | None:
        """Send it all, listening meanwhile; returns the cancellation of this task, if any."""
        inbox = inbox_of(self.scope, receive) if self.scope["type"] == "http" else None
        if inbox is not None:
            share_body(self._content, self.scope, receive, inbox)
            self._task.client_left = lambda: inbox.disconnected
        cancellation: BaseException | None = None
        task = self._task

        def cancelled(exc: BaseException) -> None:
            nonlocal cancellation
            cancellation = exc
            self.end("cancelled", exc)

        try:
            await task.start()
            if inbox is not None and not task.served:
                with anyio.CancelScope() as task.listening:
                    if await inbox.listen():
                        self._client_left()
                    else:
                        await anyio.sleep_forever()
        except anyio.get_cancelled_exc_class() as exc:
            cancelled(exc)
        except UnsharedBody as exc:
            self.end("error", exc)
        if not task.closed:
            await task.wait_closed(cancelled)
        return cancellation

    def _client_left(self) -> None:
        # hypercorn says so while it still handles the last message: it must not be cancelled.
        if self.writer.state is State.ENDING:
            self._watch.client_left()
        else:
            self.end("disconnect", None)

    # how it goes

    @property
    def outcome(self) -> StreamOutcome:
        """How it ended."""
        sender, body = self.sender, self._task.body
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
        body = self._task.body
        if (on_thread := threaded_body(body)) is not None and on_thread.waits_for_thread:
            return "thread"
        return "content" if self.sender.waits or body is None else "client"

    # from anywhere on the loop

    def end(self, reason: Reason, error: BaseException | None) -> None:
        """End the response; the first reason stands."""
        sender = self.sender
        failed = reason in ("error", "timeout")
        can_tell = failed and sender.is_waiting and sender.can_tell_errors
        if self.ending.decide(reason, error) and can_tell and error is not None:
            sender.do_aside(partial(sender.tell_error, error), self._aside_failed, last=True)
        else:
            sender.aside.cancel()
        sender.stop()
        self._task.stop()

    def shut_down(self) -> None:
        """The app shuts down: an event stream ends here and now, all others go on."""
        sender = self.sender
        if sender.frames.ends_on_shutdown and not sender.shuts_down:
            sender.shut_down()
            if sender.is_waiting and sender.is_between_frames:
                sender.do_aside(self._task.end_with_farewell, self._aside_failed)

    def silent_since(self, last_item: float) -> float:
        """Since when the content is silent; it isn't while it waits for a thread to run on."""
        body = threaded_body(self._task.body)
        if body is None:
            return last_item
        return self.writer.clock() if body.waits_for_thread else max(last_item, body.had_thread_at)

    def cut(self, closing: float) -> None:
        """End at once, as by an error; the content has `closing` seconds to be closed."""
        self._watch.allow(closing)
        self.end("cancelled", GraceExceeded())

    # by the timer

    def stop(self) -> None:
        """Stop the content, for the reason there is."""
        self._task.stop()

    def start_late(self) -> None:
        """Start the response though nothing is ready."""
        self.sender.do_aside(self._task.start_late, self._aside_failed)

    def keep_alive(self) -> None:
        """Send that the stream still lives."""
        self.sender.do_aside(self.sender.keep_alive, self._aside_failed)

    def give_up(self, allowed: float) -> bool:
        """Cancel the cleanup; True if that was done before, and the response goes on without."""
        return self._task.give_up(allowed)

    def _aside_failed(self, error: BaseException) -> None:
        if isinstance(error, ClientLeft):
            self.end("disconnect", error.__cause__)
        else:
            self.end("timeout" if isinstance(error, ClientTooSlow) else "error", error)
