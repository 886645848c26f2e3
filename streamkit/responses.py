"""The response: its options, headers and content, put together at construction."""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Literal, Unpack

import starlette.responses
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from streamkit.body.base import coding_of
from streamkit.body.of import Opened, close_abandoned, open_content, refuse_name
from streamkit.bytesource import Given
from streamkit.compress import offered_codings
from streamkit.declare import bind, check_all, configure, function, options_of
from streamkit.encoders import Encoder
from streamkit.encoders.charsets import find_charset
from streamkit.encoders.text import TextEncoder
from streamkit.http.disposition import content_disposition
from streamkit.http.mediatypes import parameter
from streamkit.iterate import Stream
from streamkit.limit import StreamLimit
from streamkit.openapi import Responses, describe
from streamkit.options import ResponseOptions
from streamkit.outcome import StreamOutcome
from streamkit.respond import respond

__all__ = ["OnClose", "ResponseOptions", "StreamOutcome", "StreamingResponse"]

OnClose = Callable[[StreamOutcome], Awaitable[None] | None]


class StreamingResponse(starlette.responses.StreamingResponse):
    """Streams any content; replaces Starlette's class of that name by changing one import.

    `content` may be a sync or async iterable (a generator, most often), an open file, sync or
    async, an `os.PathLike`, whole `str` or bytes, or what another library made: a response of
    httpx, requests or aiohttp, or a process, by what it writes. It is owned from here on: it is
    closed exactly once, before the response returns, whichever way that ends. Items are `str` or
    bytes-like. A sync iterable runs on worker threads, in one context.

    `filename` sets `Content-Disposition` (RFC 6266); `content_disposition_type` is "attachment"
    by default, or "inline". `etag` (with its quotes) and `last_modified` (an aware datetime) are
    validators: they go before those of a source, and False sends none; a stream has those that
    are given. A request that knows them gets a 304, or a 412, for which the content is closed
    without being run. `on_close` is called once, after the content was closed, with a
    `StreamOutcome`; it may be async, and a method of a subclass.

    Class attributes, each a keyword argument as well:

    * `media_type` (None), `charset` ("utf-8", or what the type says): as in Starlette.
    * `encoder` (text): a class, or zero-argument callable, giving a fresh encoder per response.
    * `max_buffer` (65536): bytes of a batch of items that come together, and how far a thread may
      be ahead of the client. Async content is at most one batch ahead.
    * `first_chunk_timeout` (0.5): seconds the headers wait for the first chunk, so that an
      exception raised before it becomes a real status; then they go out anyway. 0: never wait.
      None: until it comes.
    * `send_timeout` (None): seconds one send may take before a stalled client is dropped.
    * `item_timeout` (None): seconds without an item after which the content has failed: a 504
      before the start, later the error frame and a cut.
    * `thread_timeout` (30.0): seconds that sync content waits for a thread; then it is a 503.
    * `deadline` (None): seconds for the whole response; then it is cut.
    * `min_rate` (None): bytes a second that a client has to take, with `min_rate_grace` (10.0)
      seconds in hand; `max_rate` (None): bytes a second that are sent at most.
    * `limit` (None): a `StreamLimit`, for how many responses may be open at once.
    * `compress` (False): compress streams and whole text as the request accepts it; True, or
      codings in order ("zstd", "br", "gzip"). Off, since lengths may tell secrets (BREACH).
    * `keep_alive` (None): seconds of silence after which `encoder.keep_alive()` is sent.
    * `cleanup_timeout` (30.0): seconds the content's cleanup may take after the response ended;
      None: as long as it takes.
    * `thread_affine` (False): one thread for a sync iterable's whole life, as sqlite3 needs.
    * `error_frames` (False): where the format has a frame for errors, send it before the body is
      cut. Nothing of an exception leaves the process but the detail of an `HTTPException`, or
      what `error_detail` (None), a function from exception to `str` or None, makes of it.

    An exception before the first chunk reaches the app's exception handlers; a later one cuts the
    connection, so that no client takes a part for the whole. Raises `TypeError` for content it
    can't stream, such as a whole `str` for a type that isn't text, and `ValueError` for limits and
    file names that make no sense, at construction.

        @app.get("/report")
        def report():
            return StreamingResponse(rows(), media_type="text/plain", filename="report.txt")
    """

    charset: str
    encoder: Callable[[], Encoder[Any]]
    max_buffer: int
    first_chunk_timeout: float | None
    send_timeout: float | None
    item_timeout: float | None
    thread_timeout: float | None
    keep_alive: float | None
    cleanup_timeout: float | None
    deadline: float | None
    min_rate: float | None
    min_rate_grace: float
    max_rate: float | None
    limit: StreamLimit | None
    compress: bool | str | Sequence[str]
    thread_affine: bool
    error_frames: bool
    # Functions, or methods of a subclass: no type says both to all checkers.
    error_detail: Any
    on_close: Any = None
    options: ClassVar[type] = ResponseOptions
    _ends_on_shutdown = False
    _precompressed = False
    _has_own_encoder = False

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
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        on_close: OnClose | None = None,
        **limits: Unpack[ResponseOptions],
    ) -> None:
        try:
            configure(self, self.options, limits)
            if on_close is not None:
                function("on_close", on_close)
                self.on_close = on_close
            if media_type is not None:
                self.media_type = media_type
            self.status_code = status_code
            self.background = background
            # The encoder writes what the type says, which may be among the headers.
            self._charset = _write_headers(self, headers)
            self._encoder = self._checked_encoder()
            if isinstance(content, str) and isinstance(self._encoder, TextEncoder):
                refuse_name(content, self.headers.get("content-type"), type(self).__name__)
            if filename is not None:
                disposition = content_disposition(filename, content_disposition_type)
                self.headers.setdefault("content-disposition", disposition)
            self._given = Given(etag, last_modified)
            self._codings = offered_codings(self.compress)
            self._opened, self._max_buffer = _open(self, content, self._encoder)
        except BaseException:
            close_abandoned(content)
            raise
        # The encoded body, once somebody looked at it, and what it was replaced by.
        self._looked_at: Stream[bytes] | None = None
        self._replacement: Any = None
        self._displaced: list[Stream[bytes]] = []
        self._called = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _declare(cls)

    @classmethod
    def openapi(cls, *, media_type: str | None = None, source: bool = False) -> Responses:
        """What to pass as `responses=`, so that /openapi.json tells all that is sent.

        Give the class as `response_class=` too. `media_type` is for a class without its own.
        `source=True` is for content with an address (a path, whole bytes, a seekable file, a
        `ByteSource`): it adds 206, 304, 412 and 416, with their headers.

            @app.get("/film", response_class=Film, responses=Film.openapi(source=True))
        """
        return describe(cls.media_type, media_type, source=source, owner=cls.__name__)

    @classmethod
    def _with_items(cls, item: Any) -> type[StreamingResponse]:
        """The class that tells of items of a type; a format whose items have one overrides it."""
        return cls

    def option(self, name: str) -> Any:
        """An option that is a function, ready to be called; on a class it may be a method."""
        return bind(self, name, options_of(self.options).get(name))

    def make_encoder(self) -> Encoder[Any]:
        """A fresh encoder; a format with options overrides this."""
        if self.encoder is TextEncoder:
            return TextEncoder(self._charset)
        encoder: Encoder[Any] = self.option("encoder")()
        return encoder

    def _checked_encoder(self) -> Encoder[Any]:
        encoder = self.make_encoder()
        _check_encoder(self, encoder)
        return encoder

    def _farewell(self) -> Callable[[], bytes] | None:
        """What ends the body when the app shuts down; a format with a farewell overrides it."""
        return None

    def _error_frame(self, encoder: Any, error: Exception) -> bytes:
        describe = self.option("error_detail")
        detail = _public_detail(error) if describe is None else describe(error)
        if detail is None:
            return bytes(encoder.error("InternalServerError", "Internal Server Error"))
        return bytes(encoder.error(type(error).__name__, detail))

    @property
    def body_iterator(self) -> AsyncIterable[Any]:
        """The encoded body, an async iterable of bytes; what it is replaced by is sent instead.

        The replacement yields `str` or bytes, which are not encoded again. Both are closed when
        the response ends.
        """
        if self._replacement is not None:
            body: AsyncIterable[Any] = self._replacement
            return body
        if self._looked_at is None:
            self._looked_at = Stream(self._opened, coding_of(self._encoder, self._max_buffer))
        return self._looked_at

    @body_iterator.setter
    def body_iterator(self, replacement: Any) -> None:  # pyright: ignore
        body = self.body_iterator
        if isinstance(body, Stream) and body is not replacement:
            self._displaced.append(body)
        self._encoder = TextEncoder(self._charset)
        self._opened, self._max_buffer = _open(self, replacement, self._encoder)
        self._looked_at, self._replacement = None, replacement

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._called:
            raise RuntimeError("this response was sent already; make a new one for each request")
        self._called = True
        await respond(self, scope, receive, send)


def _write_headers(response: StreamingResponse, headers: Mapping[str, str] | None) -> str:
    """Write the headers; gives the charset of text, which is the one that the type says."""
    own, given = response.charset, "charset" in response.__dict__
    if own != "utf-8":
        response.charset = find_charset(own).label
    response.init_headers(headers)
    said = None
    if headers or ";" in (response.media_type or ""):
        said = parameter(response.headers.get("content-type"), "charset")
    if not said or said.lower() == response.charset:
        return own
    if given and not find_charset(own).is_read_as(find_charset(said)):
        raise ValueError(
            f"the type of this {type(response).__name__} says charset={said}, and its text is "
            f"written in {own}; pass the same one as charset="
        )
    return own if given else said


def _open(response: StreamingResponse, content: Any, encoder: Encoder[Any]) -> tuple[Opened, int]:
    opened = open_content(
        content,
        thread_affine=response.thread_affine,
        owner=type(response).__name__,
        charset=response._charset if isinstance(encoder, TextEncoder) else None,
    )
    # A `Stream` that is handed over keeps its own.
    return opened, content.max_buffer if isinstance(content, Stream) else response.max_buffer


def _check_encoder(response: StreamingResponse, encoder: Any) -> None:
    if response._has_own_encoder and response.encoder is not TextEncoder:
        raise ValueError(
            f"{type(response).__name__} takes no encoder, for it has its own; override "
            f"make_encoder(), or pass encoder= and media_type= to StreamingResponse"
        )
    if type(encoder) is not TextEncoder and not isinstance(encoder, Encoder):
        raise TypeError(
            f"encoder must give an object with encode(item) and finish(), "
            f"got {type(encoder).__name__}"
        )
    for option, method in (("keep_alive", "keep_alive"), ("error_frames", "error")):
        if getattr(response, option) and not hasattr(encoder, method):
            raise ValueError(
                f"{option}={getattr(response, option)} needs an encoder with {method}(), and "
                f"{type(encoder).__name__} has none: its format has no room for one"
            )


def _public_detail(error: Exception) -> str | None:
    """What an exception was made to tell clients."""
    return str(error.detail) if isinstance(error, HTTPException) else None


def _declare(cls: type[StreamingResponse]) -> None:
    """Give a class the defaults of the options it declares, and check those it has."""
    for name, option in options_of(cls.options).items():
        if option is not None and not hasattr(cls, name):
            setattr(cls, name, option.default)
    check_all(cls, cls.options)
    function("on_close", cls.on_close)


_declare(StreamingResponse)
