"""Makes the end of a failed body visible to the client.

Once the status line is out, all that an ASGI app can do about a failure is to raise: a server
then cuts the connection. Four things stand against it, and each has an answer here:

* Middleware that relays a body (`BaseHTTPMiddleware`) ends it cleanly when the app below it
  raises. Invalid messages are sent first, on which any relay fails, as a server does.
* Middleware that catches whatever is raised, and finishes the body. `Honest`, around the whole
  app, refuses the last message of a response that failed.
* Middleware that passes over what it can't read, below such a relay: it takes the second invalid
  message though the first one failed. The connection is dropped, if it is HTTP/1.
* A stalled client: the invalid messages wait behind what it does not read. After a second the
  connection is dropped, if it is HTTP/1; else they wait as long as the client does.
"""

from __future__ import annotations

import logging
import math
from typing import Any, NoReturn

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit import loop
from streamkit.asgi.connection import connection_of, drop, reset
from streamkit.shutdown import forget, register

__all__ = ["Honest", "Truncated", "truncate"]

logger: logging.Logger = logging.getLogger("streamkit")

KEY = "streamkit.verdict"
# Seconds that the invalid messages may wait for a client until its connection is dropped.
PATIENCE = 1.0
# As servers write it, and as granian does.
HTTP_1_0 = ("1.0", "1")
# Turns of the loop in which the first of them reaches the server through any number of relays.
TURNS = 16


class Truncated(Exception):
    """Raised by `Honest` where a middleware would end a failed body as if it were whole."""


class _Verdict:
    """Whether the response to one request has failed; shared through the scope."""

    __slots__ = ("error",)

    def __init__(self) -> None:
        self.error: BaseException | None = None


class Honest:
    """ASGI middleware, outermost: a response that failed midway never ends as if it were whole.

    Needed only above middleware that catches what the app raises, or that changes a body and
    passes over what it can't handle. It adds one look for each message, and nothing else.

        app = Honest(FastAPI())          # or app.add_middleware(Honest), added last
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        verdict = scope[KEY] = _Verdict()

        async def checked(message: Message) -> None:
            if verdict.error is not None and not message.get("more_body", False):
                raise Truncated("the response failed midway") from verdict.error
            await send(message)

        await self.app(scope, receive, checked)
        if verdict.error is not None:
            raise Truncated("the response failed midway") from verdict.error


class _Unsendable:
    """Raises the response's error as soon as its bytes are wanted, or it is to be described."""

    def __init__(self, error: BaseException) -> None:
        self._error = error
        # Whether anybody has got the error.
        self.was_wanted = False

    def __bool__(self) -> bool:
        return True

    def _refuse(self, *_: Any) -> NoReturn:
        self.was_wanted = True
        raise self._error

    __len__ = __bytes__ = __iter__ = __buffer__ = __repr__ = _refuse


def mark_failed(scope: Scope, error: BaseException) -> None:
    """Let `Honest` know that this response has failed."""
    verdict = scope.get(KEY)
    if verdict is not None:
        verdict.error = error


async def truncate(
    scope: Scope, send: Send, error: BaseException, patience: float | None = None
) -> None:
    """Send what can't be sent: see `_Poison`. What `send` says to that is ignored.

    Where a stalled client keeps it waiting for a second, its connection is dropped, if it is an
    HTTP/1 connection that can be found. On HTTP/2 it waits until it is taken or the client leaves,
    the response is cancelled, or the app shuts down. `patience` in seconds bounds all of that.
    """
    mark_failed(scope, error)
    version = scope.get("http_version", "")
    # From HTTP/2 on, other streams are on the same connection.
    shared = not version.startswith("1")
    connections = set() if shared else {connection_of(scope)}
    if version in HTTP_1_0:
        # Its bodies end with the connection: only a reset tells a cut from an end.
        reset(connections)
    poison = _Poison(scope, send, error)
    if await poison.send_within(PATIENCE if patience is None else patience):
        if poison.was_passed_over and drop(connections):
            logger.warning("the connection of a failed response was dropped: a middleware hid it")
        return
    if drop(connections):
        logger.warning("the connection of a stalled client was dropped: its response failed")
        await poison.send_within(PATIENCE)
    elif shared and patience is None and not poison.was_cancelled:
        register(poison)
        try:
            await poison.send_within(math.inf)
        finally:
            forget(poison)


class _Poison:
    """Two messages on which any relay fails, or the server does.

    A chunk that is none passes through relays to the server. The path of a file, in the middle of
    a body, helps where something between fails at the chunk, as GZipMiddleware does, and where the
    server passes over what isn't bytes, as granian does. `BaseHTTPMiddleware` hands it on, and from
    then on leaves the end to the app.

    A relay that has failed cancels what is below it, and this with it.
    """

    def __init__(self, scope: Scope, send: Send, error: BaseException) -> None:
        self.scope = scope
        self._unsendable = unsendable = _Unsendable(error)
        self._send = send
        self._messages: tuple[Message, ...] = (
            {"type": "http.response.body", "body": unsendable, "more_body": True},
            {"type": "http.response.pathsend", "path": unsendable},
        )
        self.was_cancelled = anyio.current_effective_deadline() == -math.inf
        self._waiting = anyio.CancelScope()
        self._error = error
        # Which were taken: who takes no second one then has failed.
        self._taken: list[Message] = []
        # Whether something between failed at the chunk, and gave its error back.
        self._was_refused = False
        self._is_cut = False

    async def send_within(self, seconds: float) -> bool:
        """Whether both were taken, or a relay has failed, within the time."""
        chunk, path = self._messages
        until = anyio.current_time() + seconds
        try:
            shield = math.isfinite(seconds)
            if chunk not in self._taken and not await self._send_until(until, chunk, shield=shield):
                return False
            # What took the chunk takes this too, unless it has failed; the cancellation that comes
            # of that can't be told from one that was there before.
            if self.was_cancelled:
                until = min(until, anyio.current_time() + PATIENCE)
            elif self._taken:
                await self._give_turns()
            in_time = await self._send_until(until, path, shield=self.was_cancelled)
            if path in self._taken:
                self._log_unless_told()
            return in_time
        except anyio.get_cancelled_exc_class():
            self._log_unless_told()
            return True

    def _log_unless_told(self) -> None:
        """A relay took it all, or what something else made of it: its own error says no reason."""
        untold = self._taken and not self._unsendable.was_wanted
        if (untold or self._was_refused) and not self.was_cancelled:
            logger.error("a response failed after its start", exc_info=self._error)

    @property
    def was_passed_over(self) -> bool:
        """Whether somebody could make nothing of the chunk, and took the path nevertheless."""
        chunk, path = self._messages
        failed = self._unsendable.was_wanted or chunk not in self._taken
        return path in self._taken and failed

    async def _give_turns(self) -> None:
        """Let relays fail at the first message; those that do need no second one."""
        for _ in range(TURNS):
            await loop.checkpoint()

    async def _send_until(self, until: float, message: Message, *, shield: bool) -> bool:
        if self._is_cut:
            return False
        with anyio.CancelScope(deadline=until, shield=shield) as self._waiting:
            try:
                await self._send(message)
                self._taken.append(message)
            except Exception:
                # The response's own error is raised next, whatever became of this.
                self._was_refused = self._was_refused or message is self._messages[0]
                logger.debug("the body was cut", exc_info=True)
        return not self._waiting.cancelled_caught

    # for a shutdown

    def shut_down(self) -> None:
        """Go on."""

    def cut(self, closing: float) -> None:
        """The server ends the connection now."""
        self._is_cut = True
        self._waiting.cancel()
