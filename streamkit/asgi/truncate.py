"""Makes the end of a failed body visible to the client.

Once the status line is out, all that an ASGI app can do about a failure is to raise: a server
then cuts the connection. Three things stand against it, and each has an answer here:

* Middleware that relays a body (`BaseHTTPMiddleware`) ends it cleanly when the app below it
  raises. Two invalid messages are sent first, on which any relay fails, as a server does.
* Middleware that catches whatever is raised, and finishes the body. `Honest`, around the whole
  app, refuses the last message of a response that failed.
* A stalled client: the invalid messages wait behind what it does not read. After a second the
  connection is dropped, if it is HTTP/1, so that the body can't end cleanly later.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit.asgi.connection import connection_of, drop, reset_on_close

__all__ = ["Honest", "Truncated", "truncate"]

logger: logging.Logger = logging.getLogger("streamkit")

KEY = "streamkit.verdict"
# Seconds that an invalid message may wait for a client until its connection is dropped.
PATIENCE = 1.0


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

    def __bool__(self) -> bool:
        return True

    def _refuse(self, *_: Any) -> NoReturn:
        raise self._error

    __len__ = __bytes__ = __iter__ = __buffer__ = __repr__ = _refuse


def mark_failed(scope: Scope, error: BaseException) -> None:
    """Let `Honest` know that this response has failed."""
    verdict = scope.get(KEY)
    if verdict is not None:
        verdict.error = error


async def truncate(
    scope: Scope,
    send: Send,
    error: BaseException,
    *,
    patience: float | None = None,
    cancelled: bool = False,
) -> None:
    """Send two invalid messages: a chunk that is none, and trailers that were not announced.

    The chunk passes through relays to the server; the trailers help where something between
    touches the chunk (GZipMiddleware) or passes over what isn't bytes (granian). A relay that the
    chunk has ended reads no more: its cancellation of this task ends the wait for the trailers,
    unless the task is `cancelled` anyway.

    Where a stalled client keeps the messages waiting for `patience` seconds, its connection is
    dropped, if it is an HTTP/1 connection that can be found. What `send` says is ignored.
    """
    mark_failed(scope, error)
    patience = PATIENCE if patience is None else patience
    connections = {connection_of(scope)} if scope.get("http_version", "").startswith("1") else set()
    if scope.get("http_version") == "1.0":
        # Its bodies end with the connection: only a reset tells a cut from an end.
        reset_on_close(connections)
    poison = _Unsendable(error)
    chunk: Message = {"type": "http.response.body", "body": poison, "more_body": True}
    trailers: Message = {"type": "http.response.trailers", "headers": poison}
    with anyio.move_on_after(patience, shield=True) as waiting:
        await _send_invalid(send, chunk)
    if not waiting.cancelled_caught:
        with anyio.move_on_after(patience, shield=cancelled) as waiting:
            await _send_invalid(send, trailers)
    if waiting.cancelled_caught and drop(connections):
        logger.warning("the connection of a stalled client was dropped: its response failed")
        with anyio.move_on_after(patience, shield=True):
            await _send_invalid(send, chunk)
            await _send_invalid(send, trailers)


async def _send_invalid(send: Send, message: Message) -> None:
    try:
        await send(message)
    except Exception:
        # The response's own error is raised next, also if this failed.
        logger.debug("the body was cut", exc_info=True)
