"""Why a response ends, and what that means: for `on_close`, on the wire, and for the caller."""

from __future__ import annotations

import logging
from time import monotonic

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Scope, Send

from streamkit.asgi.connection import connection_of, drop
from streamkit.asgi.truncate import truncate
from streamkit.asgi.writer import Writer
from streamkit.closing import comes_of, first_of
from streamkit.errors import (
    ClientTooSlow,
    DeadlineExceeded,
    GraceExceeded,
    ItemTimeout,
    SendTimeout,
    ThreadTimeout,
)
from streamkit.outcome import Reason, StreamOutcome

__all__ = ["Ending", "failure", "tell_given_up"]

logger: logging.Logger = logging.getLogger("streamkit")

# The contents that were given up, and told of.
_told: set[str] = set()

# Seconds that a stalled client may keep waiting what makes a shutdown's cut visible, and the end
# of a response that never started.
CUT_PATIENCE = 0.5


class Ending:
    """The reason why a response ends: the first to give one decides."""

    __slots__ = ("_is_dropped", "_scope", "_send", "_writer", "began", "error", "reason")

    def __init__(self, scope: Scope, send: Send, writer: Writer) -> None:
        self._scope = scope
        self._send = send
        self._writer = writer
        # Whether the client's connection is gone, by us.
        self._is_dropped = False
        # On `time.monotonic()`.
        self.began: float = monotonic()
        self.reason: Reason | None = None
        self.error: BaseException | None = None

    def decide(self, reason: Reason, error: BaseException | None) -> bool:
        """End for this reason, unless there is one already, or every byte is out."""
        if self.reason is not None or self._writer.complete:
            return False
        if reason == "disconnect" and self._has_sent_all():
            # Every byte is out: that the client leaves then is no error.
            reason, error = "complete", None
        self.reason, self.error = reason, error
        return True

    def _has_sent_all(self) -> bool:
        writer = self._writer
        length = next((v for n, v in writer.headers if n.lower() == b"content-length"), None)
        return (
            length is not None
            and writer.started
            and length.isdigit()
            and int(length) == writer.bytes_sent
        )

    def outcome(
        self, content_error: BaseException | None, first_chunk_after: float | None, items: int
    ) -> StreamOutcome:
        """How it ended; `content_error` is what the content raised, also while it was closed."""
        reason, error, writer = self.reason or "complete", self.error, self._writer
        if content_error is not None and comes_of(content_error, ClientDisconnect):
            # How a content hears that the client has left is no failure of its own.
            content_error = content_error if reason == "error" else None
        if error is not None:
            first_of(error, content_error)
        elif content_error is not None:
            error = content_error
            if isinstance(error, Exception) and reason != "error":
                # The response has ended otherwise: nobody else would hear of this.
                logger.error(
                    "the content of a response failed while it was stopped", exc_info=error
                )
        duration = monotonic() - self.began
        return StreamOutcome(
            reason,
            writer.bytes_sent,
            duration,
            error,
            writer.status if writer.started else None,
            # uvloop's clock counts whole milliseconds.
            None if first_chunk_after is None else min(first_chunk_after, duration),
            items,
        )

    async def end_unstarted(self) -> None:
        """A response that ends before its start still has one, or relays above it fail."""
        if self._writer.started or self.reason not in ("disconnect", "cancelled"):
            return
        if self.reason == "cancelled":
            if isinstance(self.error, GraceExceeded):
                return
            self._writer.status = 503
        # What the content's would have been does not hold for an empty body.
        self._writer.headers = [(b"content-length", b"0")]
        try:
            # Whoever has stalled, or something between, may never take it.
            with anyio.move_on_after(CUT_PATIENCE):
                await self._writer.end_empty()
        except Exception:
            logger.debug("nobody took the end of a response", exc_info=True)

    async def show(self) -> None:
        """Make it visible on the wire that the body is not whole."""
        reason, writer = self.reason, self._writer
        if reason in (None, "complete", "disconnect") or not writer.started or writer.complete:
            return
        error = self.error if self.error is not None else GraceExceeded()
        if isinstance(error, SendTimeout | ClientTooSlow) and self._drop():
            # Nothing that is sent from now on leaves: no middleware can end the body.
            logger.warning("the connection of a client was dropped: %s", error)
            return
        await truncate(
            self._scope,
            self._send,
            failure(error),
            CUT_PATIENCE if isinstance(error, GraceExceeded) else None,
        )

    def _drop(self) -> bool:
        if self._scope.get("http_version") == "1.1":
            self._is_dropped = drop({connection_of(self._scope)}) > 0
        return self._is_dropped

    def raised(self) -> BaseException | None:
        """What the response has to raise, beside a cancellation."""
        error, started = self.error, self._writer.started
        if self._is_dropped:
            # The fault is the client's: no traceback for each, of which there may be thousands.
            return None
        if self.reason == "disconnect":
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
        version = self._scope.get("asgi", {}).get("spec_version", "2.0")
        if cause is None or tuple(map(int, version.split("."))) < (2, 4):
            return None
        error = ClientDisconnect()
        error.__cause__ = cause
        return error


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


def tell_given_up(name: str, *, on_thread: bool) -> None:
    """Log that a content can't be stopped: once for each, as thousands may come of one."""
    log = logger.debug if name in _told else logger.error
    _told.add(name)
    log(
        "a response goes on without its content, which can't be stopped%s: %s",
        " and still blocks a thread" if on_thread else "",
        name,
    )
