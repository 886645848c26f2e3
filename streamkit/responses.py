"""The response: content, encoder and send, put together in the one `__call__`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from inspect import isawaitable
from typing import Any, ClassVar, TypedDict, Unpack

import anyio
import starlette.responses
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from streamkit.bridge import Stream
from streamkit.content import close_abandoned, open_content
from streamkit.delivery import Delivery, whole
from streamkit.encoders import Encoder
from streamkit.encoders.text import TextEncoder
from streamkit.http.conditions import Validators
from streamkit.http.disposition import content_disposition
from streamkit.http.plan import Plan, plan
from streamkit.openapi import Responses, describe
from streamkit.producers import Producer, TaskProducer
from streamkit.sender import Limits, Sender, Start, StreamOutcome
from streamkit.shutdown import forget, register
from streamkit.sources import ByteSource, SourceInfo

__all__ = ["OnClose", "ResponseOptions", "StreamOutcome", "StreamingResponse"]

logger = logging.getLogger("streamkit")

OnClose = Callable[[StreamOutcome], Awaitable[None] | None]


class ResponseOptions(TypedDict, total=False):
    """The class attributes of `StreamingResponse` that are keyword arguments as well."""

    charset: str
    encoder: Callable[[], Encoder[Any]]
    max_buffer: int
    first_chunk_timeout: float | None
    send_timeout: float | None
    keep_alive: float | None
    cleanup_timeout: float | None
    thread_affine: bool
    error_frames: bool
    error_detail: Callable[[Exception], str | None] | None


class StreamingResponse(starlette.responses.StreamingResponse):
    """Streams any content; replaces Starlette's class of that name by changing one import.

    `content` may be a sync or async iterable (a generator, most often), an open file, sync or
    async, an `os.PathLike`, or whole `str` or bytes. It is owned from here on: it is closed
    exactly once, before the response returns, whichever way that ends. Items are `str` or
    bytes-like. A sync iterable runs on worker threads, in one context.

    `filename` sets `Content-Disposition` (RFC 6266); `content_disposition_type` is "attachment"
    by default, or "inline". `on_close` is called once, after the content was closed, with a
    `StreamOutcome`; it may be async, and a method of a subclass.

    Class attributes, each a keyword argument as well:

    * `media_type` (None), `charset` ("utf-8"): as in Starlette.
    * `encoder` (text): a class, or zero-argument callable, giving a fresh encoder per response.
    * `max_buffer` (65536): bytes a producer may be ahead of the client; a socket's buffer more.
    * `first_chunk_timeout` (0.5): seconds the headers wait for the first chunk, so that an
      exception raised before it becomes a real status; then they go out anyway. 0: never wait.
      None: until it comes.
    * `send_timeout` (None): seconds one send may take before a stalled client is dropped.
    * `keep_alive` (None): seconds of silence after which `encoder.keep_alive()` is sent.
    * `cleanup_timeout` (30.0): seconds the content's cleanup may take after the response ended;
      None: as long as it takes.
    * `thread_affine` (False): one thread for a sync iterable's whole life, as sqlite3 needs.
    * `error_frames` (False): where the format has a frame for errors, send it before the body is
      cut. Nothing of an exception leaves the process but the detail of an `HTTPException`, or
      what `error_detail` (None), a function from exception to `str` or None, makes of it.

    An exception before the first chunk reaches the app's exception handlers; a later one cuts the
    connection, so that no client takes a part for the whole. Raises `TypeError` for content it
    can't stream, `ValueError` for limits and file names that make no sense, at construction.

        @app.get("/report")
        def report():
            return StreamingResponse(rows(), media_type="text/plain", filename="report.txt")
    """

    charset: str = "utf-8"
    encoder: Callable[[], Encoder[Any]] = TextEncoder
    max_buffer: int = 65536
    first_chunk_timeout: float | None = 0.5
    send_timeout: float | None = None
    keep_alive: float | None = None
    cleanup_timeout: float | None = 30.0
    thread_affine: bool = False
    error_frames: bool = False
    error_detail: Callable[[Exception], str | None] | None = None
    on_close: OnClose | None = None
    options: ClassVar[type] = ResponseOptions
    _keep_alive = _farewell = b""
    _error_frame: Callable[[str, str | None], bytes]

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        filename: str | None = None,
        content_disposition_type: str = "attachment",
        etag: str | None = None,
        last_modified: datetime | None = None,
        on_close: OnClose | None = None,
        **limits: Unpack[ResponseOptions],
    ) -> None:
        try:
            self._configure(limits)
            if on_close is not None:
                self.on_close = on_close
            if media_type is not None:
                self.media_type = media_type
            encoder = self._checked_encoder()
            self.status_code = status_code
            self.background = background
            self.init_headers(headers)
            if filename is not None:
                disposition = content_disposition(filename, content_disposition_type)
                self.headers.setdefault("content-disposition", disposition)
            if etag is not None or last_modified is not None:
                Validators.of(etag, last_modified)
            self._given = etag, last_modified
            self._source: ByteSource | None = None
            self._stream: Stream[bytes] | None = None
            self._take(content, encoder)
        except BaseException:
            close_abandoned(content)
            raise
        self._displaced: list[Stream[bytes]] = []
        self._replacement: Any = None
        self._called = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _check_limits(cls)

    def _configure(self, options: Mapping[str, Any]) -> None:
        if not options:
            return
        known = self.options.__annotations__
        for name, value in options.items():
            if name not in known:
                raise TypeError(
                    f"{type(self).__name__}() got an unexpected keyword argument {name!r}; "
                    f"its options are {', '.join(sorted(known))}"
                )
            setattr(self, name, value)
        _check_limits(self)

    @classmethod
    def openapi(cls, *, media_type: str | None = None, source: bool = False) -> Responses:
        """What to pass as `responses=`, so that /openapi.json tells all that is sent.

        Give the class as `response_class=` too. `media_type` is the class's own unless given.
        `source=True` is for content with an address (a path, whole bytes, a seekable file, a
        `ByteSource`): it adds 206, 304, 412 and 416, with their headers.

            @app.get("/film", response_class=Film, responses=Film.openapi(source=True))
        """
        return describe(media_type or cls.media_type, source=source)

    def option(self, name: str) -> Any:
        """A class attribute that is a function: as it stands there, not bound to the response."""
        if name in self.__dict__:
            return self.__dict__[name]
        found = next(c.__dict__[name] for c in type(self).__mro__ if name in c.__dict__)
        return found.__func__ if isinstance(found, staticmethod) else found

    def make_encoder(self) -> Encoder[Any]:
        """A fresh encoder; a format with options of its own overrides this."""
        if self.encoder is TextEncoder:
            return TextEncoder(self.charset)
        encoder: Encoder[Any] = self.option("encoder")()
        return encoder

    def _checked_encoder(self) -> Encoder[Any]:
        encoder = self.make_encoder()
        if type(encoder) is not TextEncoder and not isinstance(encoder, Encoder):
            raise TypeError(
                f"encoder must give an object with encode(item) and finish(), "
                f"got {type(encoder).__name__}"
            )
        if self.keep_alive is not None:
            self._keep_alive = self._needed(encoder, "keep_alive", self.keep_alive)()
        if self.error_frames:
            self._error_frame = self._needed(encoder, "error", self.error_frames)
        return encoder

    def _needed(self, encoder: Encoder[Any], method: str, value: object) -> Callable[..., bytes]:
        found: Callable[..., bytes] | None = getattr(encoder, method, None)
        if found is None:
            option = "error_frames" if method == "error" else method
            raise ValueError(
                f"{option}={value} needs an encoder with {method}(), and "
                f"{type(encoder).__name__} has none: its format has no room for one"
            )
        return found

    def _frame(self, error: BaseException) -> bytes:
        """What an error looks like in the body: nothing, unless `error_frames` are wanted."""
        if not self.error_frames or not isinstance(error, Exception):
            return b""
        describe = self.option("error_detail")
        detail = _public_detail(error) if describe is None else describe(error)
        if detail is None:
            return self._error_frame("InternalServerError", "Internal Server Error")
        return self._error_frame(type(error).__name__, detail)

    def _take(self, content: Any, encoder: Encoder[Any]) -> None:
        opened = open_content(
            content,
            thread_affine=self.thread_affine,
            owner=type(self).__name__,
            charset=self.charset if isinstance(encoder, TextEncoder) else None,
        )
        if isinstance(opened, ByteSource):
            self._source, self._stream = opened, None
        else:
            own = isinstance(content, Stream) and not content.started
            max_buffer = content.hand_over() if own else self.max_buffer
            self._source, self._stream = None, self._encoded(opened, encoder, max_buffer)

    def _encoded(self, producer: Producer, encoder: Encoder[Any], max_buffer: int) -> Stream[bytes]:
        return Stream(
            producer,
            encode=encoder.encode,
            finish=encoder.finish,
            measure=len,
            max_buffer=max_buffer,
            quick=encoder.quick if type(encoder) is TextEncoder else None,
        )

    @property
    def body_iterator(self) -> AsyncIterable[Any]:
        """The encoded body, an async iterable of bytes; what it is replaced by is sent instead.

        The replacement yields `str` or bytes, which are not encoded again. Both are closed when
        the response ends.
        """
        body: AsyncIterable[Any] = (
            self._replacement if self._replacement is not None else self._whole_stream()
        )
        return body

    @body_iterator.setter
    def body_iterator(self, replacement: Any) -> None:  # pyright: ignore
        self._displaced.append(self._whole_stream())
        self._take(replacement, TextEncoder(self.charset))
        self._replacement = replacement

    def _whole_stream(self) -> Stream[bytes]:
        if self._stream is None:
            self._stream = self._delivered(whole)
        return self._stream

    def _delivered(self, decide: Callable[[SourceInfo], Plan]) -> Stream[bytes]:
        assert self._source is not None
        self._delivery = Delivery(self._source, decide)
        return self._encoded(TaskProducer(self._delivery), TextEncoder(), self.max_buffer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._called:
            raise RuntimeError("this response was sent already; make a new one for each request")
        self._called = True
        if scope["type"] == "websocket":
            send = _denying(send)
        stream, start = self._stream, self._start_message
        # A body that was only looked at, and not read, is a source still.
        if stream is None or (self._source is not None and not stream.started):
            stream = self._delivered(partial(self._plan, scope))
            if "http.response.pathsend" in scope.get("extensions", {}):
                self._delivery.offer_path()
            start = self._start_planned
        sender = Sender(stream, scope, receive, send, start, self._limits(), self._frame)
        register(sender)
        try:
            outcome, raised = await sender.run()
            for each in (stream, *self._displaced):
                try:
                    await each.aclose(self.cleanup_timeout)
                except BaseException as exc:
                    raised = raised or exc
        finally:
            forget(sender)
        await self._tell(_with_cleanup_error(outcome, stream.error))
        if raised is not None:
            raise raised
        if self.background is not None:
            await self.background()

    def _start_message(self) -> Start | None:
        return Start(_start(self.status_code, self.raw_headers))

    def _start_planned(self) -> Start | None:
        plan = self._delivery.plan
        if plan is None:
            return None
        message = _start(plan.status, plan.merge(self.raw_headers))
        return Start(message, self._delivery.path, plan.body_length or 0)

    def _plan(self, scope: Scope, info: SourceInfo) -> Plan:
        etag, last_modified = self._given
        if etag is not None or last_modified is not None:
            info = replace(
                info, etag=etag or info.etag, last_modified=last_modified or info.last_modified
            )
        return plan(
            scope.get("method", "GET"),
            scope.get("headers", ()),
            info,
            now=datetime.now(UTC),
            status=self.status_code,
            headers=self.raw_headers,
        )

    def _limits(self) -> Limits:
        return Limits(
            self.first_chunk_timeout,
            self.send_timeout,
            self.keep_alive,
            self._keep_alive,
            self._farewell,
        )

    async def _tell(self, outcome: StreamOutcome) -> None:
        if self.on_close is None:
            return
        try:
            with anyio.CancelScope(shield=True):
                result = self.on_close(outcome)
                if isawaitable(result):
                    await result
        except Exception:
            logger.exception("on_close failed")


def _denying(send: Send) -> Send:
    """A response to a websocket's handshake (ASGI's WebSocket Denial Response extension)."""

    async def wrapped(message: Message) -> None:
        await send({**message, "type": f"websocket.{message['type']}"})

    return wrapped


def _start(status: int, headers: Any) -> Message:
    return {"type": "http.response.start", "status": status, "headers": headers}


def _with_cleanup_error(outcome: StreamOutcome, error: BaseException | None) -> StreamOutcome:
    if outcome.error is not None or not isinstance(error, Exception):
        return outcome
    # The response has ended otherwise, so that nobody else would ever hear of this.
    logger.error("the content of a response failed while it was stopped", exc_info=error)
    return replace(outcome, error=error)


def _public_detail(error: Exception) -> str | None:
    """What an exception was made to tell clients."""
    return str(error.detail) if isinstance(error, HTTPException) else None


SECONDS = ("first_chunk_timeout", "send_timeout", "keep_alive", "cleanup_timeout")


def _check_limits(limits: Any) -> None:
    """The limits of a class, or of a response that was given some of its own."""
    _check_positive("max_buffer", limits.max_buffer)
    for name in SECONDS:
        _check_seconds(name, getattr(limits, name))


def _check_positive(name: str, value: Any) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a positive number of bytes, got {value!r}")


def _check_seconds(name: str, value: Any) -> None:
    if value is None:
        return
    # NaN compares false with everything.
    if not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} must be None or a number of seconds, 0 or more, got {value!r}")
    if value == 0 and name in ("send_timeout", "keep_alive"):
        raise ValueError(f"{name} must be more than 0 seconds, or None for no limit, got {value!r}")
