"""The transfer of one response: from a stream, or from a source and its plan."""

from __future__ import annotations

import logging
from functools import partial
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from starlette.types import Scope, Send

from streamkit.asgi.pace import Rates
from streamkit.asgi.writer import Writer
from streamkit.body.base import Body, Coding, coding_of
from streamkit.body.compressed import CompressedBody, compressed
from streamkit.body.of import body_of
from streamkit.body.source import PlanContent
from streamkit.body.threaded import ThreadedBody
from streamkit.coded import choose_coder, code_headers_of, is_coded, precompressed
from streamkit.encoders.text import TextEncoder
from streamkit.sender import Frames
from streamkit.serve import Transfer
from streamkit.sources import ByteSource, PathSource, SourceInfo
from streamkit.start import ResponseStart, merge_headers
from streamkit.watch import Limits
from streamkit.whole import WholeTransfer, path_to_send, plan_for, ready_chunks

if TYPE_CHECKING:
    from streamkit.sendable import Sendable

__all__ = ["transfer_of"]

logger: logging.Logger = logging.getLogger("streamkit")

Headers = list[tuple[bytes, bytes]]

# Statuses without content (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
WITHOUT_CONTENT = frozenset((204, 205, 304))
_VALIDATORS = frozenset((b"etag", b"last-modified"))


def transfer_of(
    response: Sendable, scope: Scope, send: Send, writer: Writer
) -> Transfer | WholeTransfer:
    """What is going to send the response."""
    opened, looked_at = response._opened, response._looked_at
    if (
        isinstance(opened, ByteSource)
        and not is_coded(response, scope)
        and (looked_at is None or looked_at.take_over())
    ):
        return whole_transfer(response, opened, scope, send, writer) or source_transfer(
            response, opened, scope, send, writer
        )
    return stream_transfer(response, scope, send, writer)


def stream_transfer(response: Sendable, scope: Scope, send: Send, writer: Writer) -> Transfer:
    body, coding = _body_and_coding(response)
    if isinstance(body, ThreadedBody):
        body.thread_timeout = response.thread_timeout
    limits = _limits(response)
    limits.first_chunk_timeout = response.first_chunk_timeout
    limits.keep_alive = response.keep_alive
    coding.on_start = partial(_begin, writer)
    if writer.head_only:
        # Its first chunk is all that is wanted: a thread runs no further ahead.
        coding.max_buffer = 1

    if response._codings:
        body = compressed(body, partial(choose_coder, response, scope, writer))

    async def open_body() -> Body | None:
        if _is_known_version(response, scope, writer):
            await writer.end_empty()
            return None
        if (start := await _open_content(response)) is not None:
            _begin(writer, start)
        if _leaves_out_content(writer):
            await writer.end_empty()
            return None
        return body

    owned = [body, *response._displaced]
    frames = _frames(response)
    transfer = Transfer(
        scope, send, writer, coding, limits, frames, response._opened, open_body, owned
    )
    if isinstance(body, CompressedBody):
        transfer.sender.compressed = body
    _set_rates(response, transfer)
    return transfer


def _limits(response: Sendable) -> Limits:
    return Limits(
        send_timeout=response.send_timeout,
        item_timeout=response.item_timeout,
        cleanup_timeout=response.cleanup_timeout,
        deadline=response.deadline,
    )


def _set_rates(response: Sendable, transfer: Transfer) -> None:
    if response.min_rate is not None or response.max_rate is not None:
        transfer.writer.rates = Rates(
            response.min_rate,
            response.min_rate_grace,
            response.max_rate,
            lambda error: transfer.end("timeout", error),
        )


def _is_known_version(response: Sendable, scope: Scope, writer: Writer) -> bool:
    """Whether the request's conditions end the response here (RFC 9110 §13); else its headers
    get the validators that were given."""
    own = writer.headers
    if response._given.says_nothing and _VALIDATORS.isdisjoint(name.lower() for name, _ in own):
        return False
    info = SourceInfo(None)
    whole = plan_for(response, {**scope, "headers": ()}, info, own).merge(own)
    # The client knows the tag of what it got, which is that of the coded bytes.
    coded = code_headers_of(response, scope, whole, response.status_code).headers
    decided = plan_for(response, scope, info, coded)
    writer.headers = whole
    if decided.status == response.status_code:
        return False
    writer.status, writer.headers = decided.status, decided.merge(coded)
    return True


def _body_and_coding(response: Sendable) -> tuple[Body, Coding]:
    looked_at = response._looked_at
    if looked_at is not None and not looked_at.take_over():
        # Somebody has begun to read the encoded body: the rest of it is sent.
        return body_of(looked_at), coding_of(TextEncoder(), response._max_buffer)
    coding = coding_of(response._encoder, response._max_buffer)
    if callable(getattr(response._opened, "use_encoder", None)):
        # The content encodes; only the end of the body is left to the encoder.
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
    _leaves_out_content(writer)


def _leaves_out_content(writer: Writer) -> bool:
    """Whether the status has no content: then the head alone is sent, as for HEAD."""
    status = writer.status
    if status >= 200 and status not in WITHOUT_CONTENT:
        return False
    writer.head_only = True
    writer.headers = [pair for pair in writer.headers if pair[0].lower() != b"content-length"]
    if status == 205:
        writer.headers.append((b"content-length", b"0"))
    return True


async def _open_content(response: Sendable) -> ResponseStart | None:
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


def _frames(response: Sendable) -> Frames:
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


def _error_frame(response: Sendable, error: BaseException) -> bytes:
    """What an error looks like in the body; an error in telling it is logged beside it."""
    if not isinstance(error, Exception):
        return b""
    encoder: Any = response._encoder
    try:
        return response._error_frame(encoder, error)
    except Exception:
        logger.exception("the error frame of a response failed; the error it was for follows")
        return b""


# sources


def whole_transfer(
    response: Sendable, source: ByteSource, scope: Scope, send: Send, writer: Writer
) -> WholeTransfer | None:
    """The transfer of a small source that can be had without waiting."""
    try:
        chunks = ready_chunks(response, source, scope, writer)
    except Exception:
        # The other way asks again, where what is raised ends a response, and closes its content.
        return None
    if chunks is None:
        return None

    owned = _owned(source, response)
    return WholeTransfer(scope, send, writer, chunks, owned, response.cleanup_timeout)


def _owned(source: ByteSource, response: Sendable) -> list[Any]:
    """What is to be closed: many sources hold nothing."""
    holds_nothing = type(source).aclose is ByteSource.aclose
    return [*response._displaced] if holds_nothing else [source, *response._displaced]


def source_transfer(
    response: Sendable, source: ByteSource, scope: Scope, send: Send, writer: Writer
) -> Transfer:
    """The transfer of a source that is read as it is sent."""
    # Of a precompressed file: the headers, and the file that is sent in place of the plain one.
    own: Headers = response.raw_headers
    sent = source

    async def open_body() -> Body | None:
        nonlocal sent, own
        coded: str | None = None
        if response._precompressed and isinstance(source, PathSource):
            sent, own, coded = await precompressed(source, scope, own)
            owned.append(sent)
        info = await sent.info()
        decided = plan_for(response, scope, info, own, coded)
        writer.status, writer.headers = decided.status, decided.merge(own)
        # The plan knows of HEAD.
        writer.head_only = False
        path = path_to_send(response, scope, sent, info, decided)
        if path is None:
            return body_of(PlanContent(sent, decided.steps))
        await writer.send_path(path, decided.body_length or 0)
        return None

    owned = _owned(source, response)
    coding = Coding(TextEncoder().encode, max_buffer=response.max_buffer)
    limits = _limits(response)
    transfer = Transfer(scope, send, writer, coding, limits, Frames(), source, open_body, owned)
    _set_rates(response, transfer)
    return transfer
