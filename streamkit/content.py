"""The task of a content: opens it, sends what it gives, and closes it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import anyio
from starlette.requests import ClientDisconnect

from streamkit import loop
from streamkit.asgi.writer import ClientLeft
from streamkit.body.base import Body, Coding
from streamkit.body.threaded import threaded_body
from streamkit.closing import close_async, comes_of, first_of
from streamkit.ending import Ending, failure, tell_given_up
from streamkit.errors import ClientTooSlow
from streamkit.outcome import Reason
from streamkit.sender import Sender
from streamkit.watch import Watch

__all__ = ["ContentTask"]

logger: logging.Logger = logging.getLogger("streamkit")


class ContentTask:
    """A task of its own: what cancels the response must not cut the content's cleanup short.

    It is cancelled once; its cleanup is then left alone, until `give_up`.
    """

    _task: loop.Task

    def __init__(
        self,
        sender: Sender,
        ending: Ending,
        watch: Watch,
        coding: Coding,
        open_body: Callable[[], Awaitable[Body | None]],
        owned: Sequence[Any],
        *,
        late: bool,
    ) -> None:
        self._sender = sender
        self._ending = ending
        self._watch = watch
        self._coding = coding
        self._open_body = open_body
        # Closed with the body: it, if it was not opened, and what else belongs to the response.
        self._owned = owned
        # Whether the response starts before the content has given anything.
        self._late = late
        self.body: Body | None = None
        # Whether the server has said that the client left; the content may have heard it first.
        self.client_left: Callable[[], bool] = lambda: False
        # Whether a cancellation of the task would reach the content.
        self._cancellable = False
        self._opened = self._attended = self._killed = False
        # Whether nothing more is sent of the content, and whether it is closed.
        self.served: bool = False
        self.closed: bool = False
        self._changed: anyio.Event | None = None
        # Cancelled when nothing more is sent.
        self.listening: anyio.CancelScope | None = None

    async def start(self) -> None:
        """Start it; returns after the turn in which a short stream comes to its end."""
        self._task = self._sender.task = loop.spawn(self._serve, self._close)
        await loop.checkpoint()
        self._attended = True
        if self._opened and not self.served:
            self._watch.begin()

    async def wait_closed(self, cancelled: Callable[[BaseException], None]) -> None:
        """Wait until the content is closed; no cancellation cuts that short."""
        self._changed = anyio.Event()
        with anyio.CancelScope(shield=True):
            while not self.closed:
                try:
                    await self._changed.wait()
                except anyio.get_cancelled_exc_class() as exc:
                    cancelled(exc)

    # in the task

    async def _serve(self) -> None:
        self._cancellable = True
        try:
            body = await self._open()
            if body is None or self._ending.reason is not None:
                return
            if self._late:
                await self.start_late()
            await self._sender.send_all(body)
            if self._sender.shuts_down and self._ending.reason is None:
                await self._say_farewell()
        except ClientLeft as exc:
            self._end("disconnect", exc.__cause__)
        except ClientTooSlow as exc:
            self._end("timeout", exc)
        except BaseException as exc:
            if self.client_left() and comes_of(exc, ClientDisconnect):
                self._end("disconnect", None)
                return
            is_first = self._end("error", failure(exc))
            if isinstance(exc, GeneratorExit) and not loop.on_loop():
                raise
            if is_first:
                await self._sender.tell_error(exc)
        finally:
            self._cancellable = False

    def _end(self, reason: Reason, error: BaseException | None) -> bool:
        is_first = self._ending.decide(reason, error)
        self._sender.stop()
        return is_first

    async def _open(self) -> Body | None:
        """Open the content in its own time, and start its body."""
        if self._ending.reason is not None:
            return None
        body = self.body = await self._open_body()
        if body is not None and self._ending.reason is None:
            self._opened = True
            if self._attended:
                self._watch.begin()
            body.start(self._coding)
        return body

    async def start_late(self) -> None:
        """Start the response though nothing is ready."""
        await self._sender.start_late()
        if self._sender.writer.complete:
            # HEAD: the content is not needed any further.
            self.stop()

    async def _say_farewell(self) -> None:
        if not self._sender.writer.complete:
            await self._sender.say_farewell()
            if self._ending.reason is None:
                self._ending.reason = "cancelled"

    async def end_with_farewell(self) -> None:
        """End the body here, beside the content, if it may end here."""
        # The content may have begun a frame since this was asked for; it is then asked again.
        if self._sender.is_between_frames and self._ending.reason is None:
            await self._say_farewell()
            self.stop()

    async def _close(self) -> None:
        """Close the content, and end a response that has not started."""
        self.served = True
        self._sender.waits = False
        if self.listening is not None:
            self.listening.cancel()
        body = self.body
        left = [each for each in self._owned if each is not body]
        if body is not None and body.finished and not (left or self._sender.aside.is_on):
            self._watch.cancel()
            closes: Sequence[Callable[[], Awaitable[None]]] = (self._close_body,)
        else:
            self._watch.cleanup_begins()
            closes = (self._sender.aside.end, self._close_body, partial(_close_each, left))
        # Each, whatever the others raise.
        for close in closes:
            try:
                await close()
            except BaseException as exc:
                if not self._killed:
                    self._ending.error = first_of(self._ending.error, exc)
                if isinstance(exc, GeneratorExit) and not loop.on_loop():
                    # The loop was closed under this task: there is nobody to be told.
                    self.closed = True
                    raise
        if self._killed and (kept := threaded_body(body)) is not None and not kept.finished:
            self._tell_given_up()
        await self._ending.end_unstarted()
        self._set_closed()

    async def _close_body(self) -> None:
        self._sender.writer.shield = None
        if self.body is not None:
            await self.body.aclose()

    def _tell_given_up(self) -> None:
        body = self.body
        tell_given_up(
            "content" if body is None else body.name, on_thread=threaded_body(body) is not None
        )

    def _set_closed(self) -> None:
        self.closed = True
        self._watch.end()
        if self._changed is not None:
            self._changed.set()

    # from anywhere on the loop

    def stop(self) -> None:
        """Stop the content; returns at once."""
        cancel = self.body is None or self.body.stop()
        # Not in `ready`: it waits for the client, and disturbs no content that closes by itself.
        cancel = cancel or not self._sender.waits
        self._sender.aside.cancel()
        self._watch.cleanup_begins()
        if cancel and self._cancellable:
            # Once: the content's own cleanup, which comes next, must be left to finish.
            self._cancellable = False
            self._task.cancel()

    def give_up(self, allowed: float) -> bool:
        """Cancel the cleanup; True if that was done before, and the response goes on without."""
        if self._killed:
            self._tell_given_up()
            self._set_closed()
            return True
        self._killed = True
        logger.error("the content's cleanup took more than %s seconds", allowed)
        kill = getattr(self.body, "kill", None)
        if kill is not None:
            kill()
        self._task.kill()
        return False


async def _close_each(owned: Sequence[Any]) -> None:
    if (error := await close_async(*owned)) is not None:
        raise error
