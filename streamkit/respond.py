"""Answers one request with one response: which transfer it takes, and what follows its end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

import anyio
from starlette.types import Receive, Scope, Send

from streamkit.asgi.listen import inbox_of, share_body
from streamkit.asgi.writer import Writer
from streamkit.body.base import Body, Coding, ReadyBody, coding_of
from streamkit.body.of import body_of
from streamkit.body.source import PlanContent, read_now
from streamkit.body.threaded import ThreadedBody
from streamkit.encoders.text import TextEncoder
from streamkit.http.plan import Plan, plan
from streamkit.http.ranges import Span
from streamkit.outcome import StreamOutcome
from streamkit.serve import Frames, Limits, Transfer
from streamkit.shutdown import forget, register
from streamkit.sources import ByteSource, PathSource, SourceInfo
from streamkit.start import ResponseStart, merge_headers

if TYPE_CHECKING:
    from streamkit.responses import StreamingResponse

__all__ = ["respond"]

logger = logging.getLogger("streamkit")

Headers = list[tuple[bytes, bytes]]

# Statuses without content (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
WITHOUT_CONTENT = frozenset((204, 205, 304))


async def respond(response: StreamingResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send the response, close its content, tell `on_close`, and run background tasks."""
    writer = Writer(scope, send, response.status_code, response.raw_headers)
    opened = response._opened
    looked_at = response._looked_at
    if isinstance(opened, ByteSource) and (looked_at is None or looked_at.take_over()):
        transfer, inline = _source_transfer(response, opened, scope, send, writer)
    else:
        transfer, inline = _stream_transfer(response, scope, send, writer), None
    register(transfer)
    try:
        if inline is not None:
            cancellation = await transfer.run_inline(inline)
        else:
            inbox = inbox_of(scope, receive) if scope["type"] == "http" else None
            if inbox is not None:
                share_body(opened, inbox)
            cancellation = await transfer.run(inbox)
    finally:
        forget(transfer)
        outcome = transfer.outcome
        await _tell(response, outcome)
        await transfer.show_failure()
    raised = cancellation or transfer.raised()
    if raised is not None:
        raise raised
    if response.background is not None:
        await response.background()


async def _tell(response: StreamingResponse, outcome: StreamOutcome) -> None:
    on_close = response.option("on_close")
    if on_close is None:
        return
    try:
        with anyio.CancelScope(shield=True):
            result = on_close(outcome)
            if isawaitable(result):
                await result
    except Exception:
        logger.exception("on_close failed")


# streams


def _stream_transfer(
    response: StreamingResponse, scope: Scope, send: Send, writer: Writer
) -> Transfer:
    body, coding = _body_and_coding(response)
    if isinstance(body, ThreadedBody):
        body.thread_timeout = response.thread_timeout
    limits = Limits(
        response.first_chunk_timeout,
        response.send_timeout,
        response.item_timeout,
        response.keep_alive,
        response.cleanup_timeout,
    )
    coding.on_start = partial(_begin, writer)

    async def open_body() -> Body | None:
        if (start := await _open_content(response)) is not None:
            _begin(writer, start)
        if writer.status in WITHOUT_CONTENT or writer.status < 200:
            writer.head_only = True
            writer.headers = _without_length(writer.headers, writer.status)
            await writer.write([], last=True)
            return None
        return body

    async def close() -> None:
        await _close_each(body, *response._displaced)

    return Transfer(scope, send, writer, coding, limits, _frames(response), open_body, close)


def _body_and_coding(response: StreamingResponse) -> tuple[Body, Coding]:
    looked_at = response._looked_at
    if looked_at is not None and not looked_at.take_over():
        # Somebody has begun to read the encoded body: the rest of it is sent.
        return body_of(looked_at), coding_of(TextEncoder(), response._max_buffer)
    coding = coding_of(response._encoder, response._max_buffer)
    if callable(getattr(response._opened, "use_encoder", None)):
        # The content encodes; what is left to the encoder is the end of the body.
        coding = Coding(finish=coding.finish, max_buffer=coding.max_buffer)
    return body_of(response._opened), coding


def _begin(writer: Writer, start: ResponseStart) -> None:
    """Let the content decide on status and headers."""
    if writer.started:
        raise RuntimeError(
            "ResponseStart came after the headers were sent: a larger first_chunk_timeout "
            "lets the response wait for it"
        )
    if start.status_code is not None:
        writer.status = start.status_code
    writer.headers = merge_headers(list(writer.headers), start)


async def _close_each(*owned: Any) -> None:
    """Close all of them, whatever one raises; then raise that."""
    error: BaseException | None = None
    for each in owned:
        try:
            await each.aclose()
        except BaseException as exc:
            error = error or exc
    if error is not None:
        raise error


async def _open_content(response: StreamingResponse) -> ResponseStart | None:
    """The seam of content that decides on its status before the start, in its own time."""
    content = response._opened
    use_encoder = getattr(content, "use_encoder", None)
    if callable(use_encoder):
        use_encoder(response._encoder)
    open_ = getattr(content, "open", None)
    if not callable(open_):
        return None
    start = open_()
    if isawaitable(start):
        start = await start
    return start if isinstance(start, ResponseStart) else None


def _frames(response: StreamingResponse) -> Frames:
    encoder: Any = response._encoder
    if response._replacement is not None:
        # The body is no longer of the format: nothing may be put between its bytes.
        return Frames(ends_on_shutdown=response._ends_on_shutdown)
    frames = Frames(ends_on_shutdown=response._ends_on_shutdown, farewell=response._farewell())
    if response.keep_alive is not None:
        frames.keep_alive = frames.opening = encoder.keep_alive
    if response.error_frames:
        frames.error = partial(_error_frame, response)
    if hasattr(type(encoder), "between_frames"):
        frames.between = lambda: encoder.between_frames
    return frames


def _error_frame(response: StreamingResponse, error: BaseException) -> bytes:
    """What an error looks like in the body; an error in telling it is logged beside it."""
    if not isinstance(error, Exception):
        return b""
    encoder: Any = response._encoder
    try:
        return response._error_frame(encoder, error)
    except Exception:
        logger.exception("the error frame of a response failed; the error it was for follows")
        return b""


def _without_length(headers: Headers, status: int) -> Headers:
    kept = [pair for pair in headers if pair[0].lower() != b"content-length"]
    return [*kept, (b"content-length", b"0")] if status == 205 else kept


# sources


def _source_transfer(
    response: StreamingResponse, source: ByteSource, scope: Scope, send: Send, writer: Writer
) -> tuple[Transfer, Body | None]:
    def decide(info: SourceInfo) -> Plan:
        decided = _plan(response, scope, info)
        writer.status, writer.headers = decided.status, decided.merge(response.raw_headers)
        writer.head_only = False
        return decided

    async def open_body() -> Body | None:
        info = await source.info()
        decided = decide(info)
        path = _path_to_send(scope, source, info, decided)
        if path is None:
            return body_of(PlanContent(source, decided.steps))
        await writer.send_path(path, decided.body_length or 0)
        return None

    async def close() -> None:
        await _close_each(source, *response._displaced)

    limits = Limits(
        send_timeout=response.send_timeout,
        item_timeout=response.item_timeout,
        cleanup_timeout=response.cleanup_timeout,
    )
    coding = Coding(TextEncoder().encode, max_buffer=response.max_buffer)
    transfer = Transfer(scope, send, writer, coding, limits, Frames(), open_body, close)
    return transfer, _ready_body(source, decide, scope)


def _ready_body(
    source: ByteSource, decide: Callable[[SourceInfo], Plan], scope: Scope
) -> Body | None:
    """The body of a small source that is in memory or in the page cache."""
    info = source.info_now()
    if info is None:
        return None
    decided = decide(info)
    if _path_to_send(scope, source, info, decided) is not None:
        return None
    chunks = read_now(source, decided.steps)
    return None if chunks is None else ReadyBody(chunks)


def _path_to_send(scope: Scope, source: ByteSource, info: SourceInfo, decided: Plan) -> str | None:
    """A whole file for the server to send by itself, if it offers that."""
    offered = "http.response.pathsend" in scope.get("extensions", {})
    is_whole = decided.steps == (Span(0, info.size or 0),)
    return source.path if offered and is_whole and isinstance(source, PathSource) else None


def _plan(response: StreamingResponse, scope: Scope, info: SourceInfo) -> Plan:
    info = response._given.over(info)
    return plan(
        scope.get("method", "GET"),
        scope.get("headers", ()),
        info,
        now=datetime.now(UTC),
        status=response.status_code,
        headers=response.raw_headers,
    )
