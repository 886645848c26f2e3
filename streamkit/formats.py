"""The typed responses whose items are values: rows, events, parts."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar, Unpack

from pydantic import TypeAdapter
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from streamkit.declare import Option, flag, function, one_of
from streamkit.encoders import Encoder
from streamkit.encoders.charsets import charset_of_type, find_charset, require_utf8
from streamkit.encoders.csv import CSVDialect, CSVEncoder
from streamkit.encoders.jsonarray import JSONArrayEncoder
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.encoders.multipart import MultipartEncoder
from streamkit.encoders.sse import SSEEncoder
from streamkit.http.byteranges import multipart_type
from streamkit.openapi import EventSchema, Responses
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = [
    "CSVStreamingResponse",
    "JSONArrayStreamingResponse",
    "JSONLinesStreamingResponse",
    "MultipartStreamingResponse",
    "SSEStreamingResponse",
    "last_event_id",
]

T = TypeVar("T")


def _anything(name: str, value: object) -> None:
    """Any value; an encoder refuses what it can't send."""


class JSONOptions(ResponseOptions, total=False):
    """What responses whose items become JSON add to the class attributes."""

    dumps: Annotated[
        Callable[[Any], bytes | str] | None,
        Option(None, function, text="Writes an item in pydantic's place.", arguments=1),
    ]
    default: Annotated[
        Callable[[Any], Any] | None,
        Option(None, function, text="As `json.dumps` has it: for other types.", arguments=1),
    ]
    nan: Annotated[
        Literal["null", "error"],
        Option("null", one_of("null", "error"), text="What becomes of NaN, infinities and NaT."),
    ]


class ErrorItemOptions(JSONOptions, total=False):
    """What JSON formats with room for an error add to the class attributes."""

    error_item: Annotated[
        Callable[[Exception], Any] | None,
        Option(None, function, text="The last item of a body that an error cuts.", arguments=1),
    ]


class _JSONItems(StreamingResponse, Generic[T]):
    """What the JSON formats share: how a value is written, and the type of the items.

    `dumps` (pydantic's serialiser) may be `orjson.dumps` or any other; `default` is as that of
    `json.dumps`; `nan` is "null", or "error" to refuse NaN, infinities and NaT.
    """

    options = JSONOptions
    dumps: Callable[[Any], bytes | str] | None = None
    default: Callable[[Any], Any] | None = None
    nan: Literal["null", "error"] = "null"
    item_type: ClassVar[Any] = Any
    item_adapter: ClassVar[TypeAdapter[Any] | None] = None
    _why_utf8: ClassVar[str] = "RFC 8259 §8.1"

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            on_close: OnClose | None = None,
            **options: Unpack[JSONOptions],
        ) -> None: ...

    else:

        def __class_getitem__(cls, item: Any) -> Any:
            # A type variable is a generic subclass being declared, not a choice of items.
            if isinstance(item, TypeVar):
                return super().__class_getitem__(item)
            name = f"{cls.__name__}[{getattr(item, '__name__', item)}]"
            typed = {"item_type": item, "item_adapter": TypeAdapter(item)}
            return type(name, (cls,), {**typed, "__module__": cls.__module__})

    def json_options(self) -> dict[str, Any]:
        """The arguments of the encoder."""
        return {
            "adapter": self.item_adapter,
            "nan": self.nan,
            "default": self.option("default"),
        }

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers(headers)
        said = charset_of_type(self.headers.get("content-type"))
        for charset in (self.charset, said or self.charset):
            require_utf8(charset, type(self).__name__, self._why_utf8)

    @classmethod
    def openapi(cls, *, media_type: str | None = None, source: bool = False) -> Responses:
        """As `StreamingResponse.openapi`, with the schema of the items.

        A stream of items is told as an array of them, as OpenAPI 3.2 reads a sequential media
        type: its `itemSchema` is not valid in FastAPI's documents, which are of 3.1.
        """
        described = super().openapi(media_type=media_type, source=source)
        (body,) = described[200]["content"].values()
        body["schema"] = {"type": "array"}
        # FastAPI puts its models, nested and recursive ones too, into the document's components.
        described[200]["model"] = GenericAlias(list, (cls._item_schema(),))
        return described

    @classmethod
    def _item_schema(cls) -> Any:
        """The type whose JSON schema is that of one item."""
        return cls.item_type


class _ErrorItems(_JSONItems[T]):
    """What the JSON formats with room for an error share."""

    options = ErrorItemOptions
    error_item: Callable[[Exception], Any] | None = None

    def _checked_encoder(self) -> Encoder[Any]:
        if self.error_item is not None:
            self.error_frames = True
        encoder = super()._checked_encoder()
        if self.error_item is not None and not hasattr(encoder, "error_item"):
            raise ValueError(
                f"error_item needs an encoder with error_item(), and {type(encoder).__name__} has "
                f"none"
            )
        return encoder

    def _error_frame(self, encoder: Any, error: Exception) -> bytes:
        make = self.option("error_item")
        item = None if make is None else make(error)
        if item is None:
            return super()._error_frame(encoder, error)
        frame: bytes = encoder.error_item(item)
        return frame


class JSONLinesStreamingResponse(_ErrorItems[T]):
    """Streams each item as one line of JSON, `application/jsonl`.

    Items are all that pydantic serialises (dicts, dataclasses, models, datetimes, UUIDs, Decimals)
    and whatever acts as a mapping or as a row with names: SQLAlchemy's `Row`, `sqlite3.Row`,
    `UserDict`. `default`, a function as `json.dumps` takes it, gives something serialisable for a
    value of another type. Lines are safe for readers that split at Unicode line breaks; NaN,
    infinities and NaT are `null` (`nan="error"` to refuse them), lone surrogates are escaped.
    `dumps=orjson.dumps`, or any other function from item to `bytes` or `str`, replaces pydantic's
    serialiser. All is UTF-8, and another `charset` is refused.

    `error_item`, a function from exception to item, says what the last line is if the content
    fails midway; it implies `error_frames`. For what it gives None, the default line is sent:
    `{"error": {"type": ..., "message": ..., "detail": ...}}`.

    `JSONLinesStreamingResponse[Item]` validates and serialises each item as `Item`.

        @app.get("/rows", response_class=JSONLinesStreamingResponse)
        def rows():
            yield {"id": 1}
    """

    media_type = "application/jsonl"

    def make_encoder(self) -> Encoder[Any]:
        return JSONLinesEncoder(self.option("dumps"), **self.json_options())


class JSONArrayStreamingResponse(_JSONItems[T]):
    """Streams the items as one JSON array, `application/json`.

    As `JSONLinesStreamingResponse`, within brackets: valid at every size, and, where the content
    fails midway, without its end, so that no reader takes it for whole.

        @app.get("/rows", response_class=JSONArrayStreamingResponse)
        def rows():
            yield {"id": 1}
    """

    media_type = "application/json"

    def make_encoder(self) -> Encoder[Any]:
        return JSONArrayEncoder(self.option("dumps"), **self.json_options())


class SSEOptions(ErrorItemOptions, total=False):
    """What event streams add to the class attributes."""

    farewell: object
    keep_alive_item: Annotated[
        object, Option(None, _anything, text="Sent in silences, for the comment.", arguments=0)
    ]


class SSEStreamingResponse(_ErrorItems[T]):
    """Streams server-sent events, `text/event-stream` (WHATWG HTML §9.2).

    Items are `ServerSentEvent`, `str` (sent as data), bytes (an encoded event, passed through),
    the event objects of FastAPI and sse-starlette, or anything else, which becomes JSON data.

    `farewell` is an event for the clients of an app that shuts down, by `graceful_shutdown`; the
    stream ends with it, and browsers reconnect, to whoever answers then.

    A comment goes out as soon as the headers do, and after `keep_alive` (15.0) seconds of
    silence. `keep_alive_item` replaces it: an event, a `str` (the text of another comment), bytes,
    or a function without arguments that gives one of these each time. Bytes that are relayed may
    be cut anywhere: keep-alives, an error and the farewell come between two events only.

    `error_item`, a function from exception to item, says what the last event is if the content
    fails midway; it implies `error_frames`. For what it gives None, the default event is sent. The headers wait `first_chunk_timeout` (0.05) seconds for an exception that can still
    become a status. Proxies are told not to buffer, and caches not to store.

        @app.get("/tokens", response_class=SSEStreamingResponse)
        async def tokens():
            yield ServerSentEvent("Hello", event="token")
    """

    media_type = "text/event-stream"
    options = SSEOptions
    keep_alive = 15.0
    first_chunk_timeout = 0.05
    farewell: object = None
    keep_alive_item: object = None
    _why_utf8 = "WHATWG HTML §9.2.4"
    # Browsers come back to whoever answers then.
    _ends_on_shutdown = True

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            on_close: OnClose | None = None,
            **options: Unpack[SSEOptions],
        ) -> None: ...

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers(headers)
        self.headers.setdefault("cache-control", "no-cache")
        self.headers.setdefault("x-accel-buffering", "no")

    def make_encoder(self) -> Encoder[Any]:
        item = self.option("keep_alive_item")
        return SSEEncoder(self.option("dumps"), keep_alive_item=item, **self.json_options())

    def _checked_encoder(self) -> Encoder[Any]:
        self._farewell_frame = b""
        if self.farewell is not None:
            # It need not be of the type of the items.
            encoder = SSEEncoder(self.option("dumps"), nan=self.nan, default=self.option("default"))
            self._farewell_frame = encoder.encode(self.farewell)
        return super()._checked_encoder()

    def _farewell(self) -> Callable[[], bytes] | None:
        return (lambda: self._farewell_frame) if self._farewell_frame else None

    @classmethod
    def _item_schema(cls) -> Any:
        return Annotated[cls.item_type, EventSchema(typed=cls.item_adapter is not None)]


def last_event_id(request: HTTPConnection) -> str | None:
    """The cursor of a client that reconnects: the id of the last event it saw, or None.

    Browsers send it as UTF-8 (WHATWG HTML §9.2.3), which headers otherwise are not.

        @app.get("/log", response_class=SSEStreamingResponse)
        def log(request: Request):
            yield from entries(after=last_event_id(request))
    """
    value = request.headers.get("last-event-id")
    return None if value is None else value.encode("latin-1").decode("utf-8", "replace")


class CSVOptions(ResponseOptions, total=False):
    """What CSV adds to the class attributes."""

    columns: Sequence[str] | None
    missing: Annotated[
        object, Option(..., _anything, text="The cell to write where a row has none.")
    ]
    extra: Annotated[
        Literal["error", "ignore"],
        Option("error", one_of("error", "ignore"), text="Cells without a column."),
    ]
    excel: Annotated[bool, Option(False, flag, text="Start with a byte order mark.")]
    escape_formulas: Annotated[bool, Option(False, flag, text="Make formulas inert.")]
    unencodable: Annotated[
        Literal["error", "replace"],
        Option("error", one_of("error", "replace"), text="What the charset has no place for."),
    ]
    dialect: CSVDialect


class CSVStreamingResponse(StreamingResponse):
    """Streams rows as CSV, `text/csv` (RFC 4180).

    Rows are mappings, sequences, dataclasses, models, or rows with names and positions, which are
    read by position: named tuples, SQLAlchemy's `Row`, `sqlite3.Row`, `asyncpg.Record`. The header
    comes from `columns`, or from the first row if it has names. A row with other columns is an
    error, unless `missing` gives the cell to write where it has none, and `extra="ignore"` leaves
    out the cells without a column.

    `excel=True` adds the byte order mark that Excel needs, `escape_formulas=True` makes cells inert
    that a spreadsheet would run, and `dialect` holds arguments of `csv.writer`, such as
    `{"delimiter": ";"}`. `charset` ("utf-8") is that of the type and of the bytes; what it has no
    place for is an error, or a question mark with `unencodable="replace"`.

        @app.get("/export.csv")
        def export():
            return CSVStreamingResponse(rows(), filename="export.csv", excel=True)
    """

    media_type = "text/csv"
    options = CSVOptions
    columns: Sequence[str] | None = None
    missing: object = ...
    extra: Literal["error", "ignore"] = "error"
    excel: bool = False
    escape_formulas: bool = False
    unencodable: Literal["error", "replace"] = "error"
    dialect: CSVDialect | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            on_close: OnClose | None = None,
            **options: Unpack[CSVOptions],
        ) -> None: ...

    def make_encoder(self) -> Encoder[Any]:
        said = charset_of_type(self.media_type)
        if said is not None and "charset" in self.__dict__:
            self._check_charset(said)
        self._charset = self.charset if said is None else said
        return CSVEncoder(
            self.columns,
            missing=self.missing,
            extra=self.extra,
            excel=self.excel,
            escape_formulas=self.escape_formulas,
            charset=self._charset,
            unencodable=self.unencodable,
            **(self.dialect or {}),
        )

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers(headers)
        said = charset_of_type(self.headers.get("content-type"))
        if said is not None:
            self._check_charset(said, self._charset)

    def _check_charset(self, said: str, charset: str | None = None) -> None:
        """What the type says must be what is written."""
        charset = charset or self.charset
        if find_charset(said)[1:] != find_charset(charset)[1:]:
            raise ValueError(
                f"the type of this CSV says charset={said}, and the rows are written in {charset}; "
                f"pass the same one as charset="
            )


class MultipartOptions(ResponseOptions, total=False):
    """What multipart adds to the class attributes."""

    part_media_type: str | None
    part_length: Annotated[
        bool, Option(False, flag, text="A `Content-Length` in each part that replaces another.")
    ]
    boundary: str | None


class MultipartStreamingResponse(StreamingResponse):
    """Streams parts, `multipart/x-mixed-replace`: in an `<img>`, pictures that move.

    Items are `MultipartPart`, or bytes of one `part_media_type`. `media_type="multipart/mixed"`
    is for readers that want all parts, each of which has a `Content-Length` then. In a stream of
    parts that replace each other it has one with `part_length=True`, which some cameras' readers
    need; browsers then show each picture when the next one comes, and by default at once. The
    `boundary` is 128 random bits unless given.

        @app.get("/camera")
        def camera():
            return MultipartStreamingResponse(frames(), part_media_type="image/jpeg")
    """

    media_type = "multipart/x-mixed-replace"
    options = MultipartOptions
    part_media_type: str | None = None
    part_length: bool = False
    boundary: str | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            on_close: OnClose | None = None,
            **options: Unpack[MultipartOptions],
        ) -> None: ...

    def init_headers(self, headers: Mapping[str, str] | None = None) -> None:
        super().init_headers(headers)
        if self.headers.get("content-type") == self.media_type:
            _, _, subtype = str.partition(self.media_type or "", "/")
            typed = multipart_type(subtype, self._multipart.boundary)
            self.headers["content-type"] = typed.decode("latin-1")

    def make_encoder(self) -> Encoder[Any]:
        # The string itself: a subclass of str (an enum, say) may show itself as something else.
        media_type = str.__str__(self.media_type or "")
        if not media_type.startswith("multipart/"):
            raise ValueError(
                f"the media_type of a multipart response must be multipart/..., "
                f"got {self.media_type!r}; part_media_type is the one of its parts"
            )
        if find_charset(self.charset).codec != "utf-8":
            raise ValueError(
                f"the parts of a multipart response are bytes, which charset={self.charset!r} does "
                f"not change; name it in part_media_type"
            )
        self._multipart = MultipartEncoder(
            self.part_media_type,
            None if self.boundary is None else str.encode(self.boundary, "latin-1"),
            replace=media_type.endswith("x-mixed-replace"),
            part_length=self.part_length,
        )
        return self._multipart
