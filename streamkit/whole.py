"""A body that is there as a whole, and small: sent in the request's own task.

No content runs, so that there is nothing to stop: no task, queue, thread or timer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
from starlette.types import Receive, Scope, Send

from streamkit import loop
from streamkit.asgi.writer import ClientLeft, Writer
from streamkit.body.source import read_now
from streamkit.closing import close_async, first_of
from streamkit.ending import Ending, failure
from streamkit.errors import GraceExceeded
from streamkit.http.accept_encoding import coded_etag
from streamkit.http.plan import Plan, plan
from streamkit.http.ranges import Span
from streamkit.observing import Progress
from streamkit.outcome import Reason, StreamOutcome
from streamkit.sources import ByteSource, PathSource, SourceInfo

if TYPE_CHECKING:
    from streamkit.sendable import Sendable

__all__ = ["WholeTransfer", "path_to_send", "plan_for", "ready_chunks"]

logger: logging.Logger = logging.getLogger("streamkit")

Headers = list[tuple[bytes, bytes]]


def ready_chunks(
    response: Sendable, source: ByteSource, scope: Scope, writer: Writer
) -> list[bytes] | None:
    """The body of a small source that is in memory or in the page cache; sets status and headers.

    None where anything is to be waited for, or a limit of time or rate to be kept.
    """
    if response._precompressed or not (
        response.send_timeout is response.deadline is response.min_rate is response.max_rate is None
    ):
        return None
    info = source.info_now()
    if info is None:
        return None
    decided = plan_for(response, scope, info, response.raw_headers)
    if path_to_send(response, scope, source, info, decided) is not None:
        return None
    chunks = read_now(source, decided.steps)
    if chunks is not None:
        writer.status, writer.headers = decided.status, decided.merge(response.raw_headers)
        # The plan knows of HEAD.
        writer.head_only = False
    return chunks


def plan_for(
    response: Sendable, scope: Scope, info: SourceInfo, own: Headers, coding: str | None = None
) -> Plan:
    """What to send of a source for this request; `own` are the headers of the response.

    `coding` is that of a compressed file in place of the plain one, whose tag it must not have.
    """
    info = response._given.over(info)
    if coding is not None and info.etag is not None:
        info = replace(info, etag=coded_etag(info.etag, coding))
    return plan(
        scope.get("method", "GET"),
        scope.get("headers", ()),
        info,
        now=datetime.now(UTC),
        status=response.status_code,
        headers=own,
    )


def path_to_send(
    response: Sendable, scope: Scope, source: ByteSource, info: SourceInfo, decided: Plan
) -> str | None:
    """A whole file for the server to send by itself, if it offers that."""
    offered = scope.get("extensions", ())
    if "http.response.pathsend" not in offered:
        return None
    if "http.response.zerocopysend" in offered and not loop.in_trio():
        # anycorn uses sendfile for both. On asyncio it can't wait for the client meanwhile (seen
        # with 0.20.1): it fails, and the body with it, as soon as the buffers are full.
        return None
    if not (response.min_rate is response.max_rate is response.send_timeout is None):
        # The server knows nothing of rates, and one send for it all says nothing of a stall.
        return None
    is_whole = decided.steps == (Span(0, info.size or 0),)
    return source.path if is_whole and isinstance(source, PathSource) else None


class WholeTransfer:
    """Sends chunks that are there, and closes what they came from."""

    __slots__ = (
        "__weakref__",
        "_chunks",
        "_cleanup_timeout",
        "_owned",
        "ending",
        "scope",
        "writer",
    )

    def __init__(
        self,
        scope: Scope,
        send: Send,
        writer: Writer,
        chunks: list[bytes],
        owned: Sequence[Any],
        cleanup_timeout: float | None,
    ) -> None:
        self.scope: Scope = scope
        self.writer: Writer = writer
        self.ending: Ending = Ending(scope, send, writer)
        self._chunks = chunks
        self._owned = owned
        self._cleanup_timeout = cleanup_timeout

    def end(self, reason: Reason, error: BaseException | None) -> None:
        """End it before it begins."""
        self.ending.decide(reason, error)

    async def run(self, receive: Receive) -> BaseException | None:
        """Send it all; returns the cancellation of this task, if any."""
        cancellation: BaseException | None = None
        try:
            if self.ending.reason is None:
                await self.writer.write(self._chunks, last=True)
        except ClientLeft as exc:
            self.ending.decide("disconnect", exc.__cause__)
        except anyio.get_cancelled_exc_class() as exc:
            self.ending.decide("cancelled", exc)
            cancellation = exc
            with anyio.CancelScope(shield=True):
                await self.ending.end_unstarted()
        except BaseException as exc:
            self.ending.decide("error", failure(exc))
        if self._owned:
            await self._close()
        return cancellation

    async def _close(self) -> None:
        with anyio.move_on_after(self._cleanup_timeout, shield=True) as scope:
            error = await close_async(*self._owned)
            self.ending.error = first_of(self.ending.error, error)
        if scope.cancel_called:
            logger.error("the content's cleanup took more than %s seconds", self._cleanup_timeout)

    @property
    def outcome(self) -> StreamOutcome:
        """How it ended."""
        return self.ending.outcome(None, 0.0 if self._chunks else None, len(self._chunks))

    def progress(self) -> Progress:
        """How far it has come, as `open_streams` shows it."""
        writer = self.writer
        since = writer.sending_since
        age = 0.0 if since is None else writer.clock() - since
        return Progress(age, writer.bytes_sent, age, None, "client")

    def shut_down(self) -> None:
        """Nothing: it ends soon by itself."""

    def cut(self, closing: float) -> None:
        """The connection of a client that has stalled is dropped; there is no content to stop."""
        self.ending.decide("cancelled", GraceExceeded())
