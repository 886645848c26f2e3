"""The typed responses whose items are values: rows, events, parts."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, TypeVar, Unpack

from pydantic import TypeAdapter
from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from streamkit.encoders import Encoder
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


class JSONOptions(ResponseOptions, total=False):
    """What responses whose items become JSON add to the class attributes."""

    dumps: Callable[[Any], bytes | str] | None
    nan: Literal["null", "error"]


class _JSONItems(StreamingResponse, Generic[T]):
    """What the JSON formats share: how a value is written, and the type of the items.

    `dumps` (pydantic's serialiser) may be `orjson.dumps` or any other; `nan` is "null", or
    "error" to refuse NaN and infinities.
    """

    options = JSONOptions
    dumps: Callable[[Any], bytes | str] | None = None
    nan: Literal["null", "error"] = "null"
    item_type: ClassVar[Any] = Any
    item_adapter: ClassVar[TypeAdapter[Any] | None] = None

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
        return {"adapter": self.item_adapter, "nan": self.nan}

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


class JSONLinesStreamingResponse(_JSONItems[T]):
    """Streams each item as one line of JSON, `application/jsonl`.

    Items are all that pydantic serialises: dicts, dataclasses, models, datetimes, UUIDs, Decimals.
    Lines are safe for readers that split at Unicode line breaks, NaN and infinities are `null`
    (`nan="error"` to refuse them), lone surrogates are escaped. `dumps=orjson.dumps`, or any other
    function from item to `bytes` or `str`, replaces pydantic's serialiser.

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


class SSEOptions(JSONOptions, total=False):
    """What event streams add to the class attributes."""

    farewell: object


class SSEStreamingResponse(_JSONItems[T]):
    """Streams server-sent events, `text/event-stream` (WHATWG HTML §9.2).

    Items are `ServerSentEvent`, `str` (sent as data), bytes (an encoded event, passed through),
    the event objects of FastAPI and sse-starlette, or anything else, which becomes JSON data.

    `farewell` is an event for the clients of an app that shuts down, by `graceful_shutdown`; the
    stream ends with it, and browsers reconnect, to whoever answers then.

    A comment goes out as soon as the headers do, and after `keep_alive` (15.0) seconds of
    silence. The headers wait `first_chunk_timeout` (0.05) seconds for an exception that can still
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
        return SSEEncoder(self.option("dumps"), **self.json_options())

    def _checked_encoder(self) -> Encoder[Any]:
        self._farewell_frame = b""
        if self.farewell is not None:
            # It need not be of the type of the items.
            encoder = SSEEncoder(self.option("dumps"), nan=self.nan)
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
    excel: bool
    escape_formulas: bool
    dialect: CSVDialect


class CSVStreamingResponse(StreamingResponse):
    """Streams rows as CSV, `text/csv` (RFC 4180).

    Rows are dicts, sequences, dataclasses or models. The header comes from `columns`, or from the
    first row if it has names; a row with other columns is an error. `excel=True` adds the byte
    order mark that Excel needs, `escape_formulas=True` makes cells inert that a spreadsheet would
    run, and `dialect` holds arguments of `csv.writer`, such as `{"delimiter": ";"}`.

        @app.get("/export.csv")
        def export():
            return CSVStreamingResponse(rows(), filename="export.csv", excel=True)
    """

    media_type = "text/csv"
    options = CSVOptions
    columns: Sequence[str] | None = None
    excel: bool = False
    escape_formulas: bool = False
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
        return CSVEncoder(
            self.columns,
            excel=self.excel,
            escape_formulas=self.escape_formulas,
            **(self.dialect or {}),
        )


class MultipartOptions(ResponseOptions, total=False):
    """What multipart adds to the class attributes."""

    part_media_type: str | None
    boundary: str | None


class MultipartStreamingResponse(StreamingResponse):
    """Streams parts, `multipart/x-mixed-replace`: in an `<img>`, pictures that move.

    Items are `MultipartPart`, or bytes of one `part_media_type`. `media_type="multipart/mixed"`
    is for readers that want all parts. The `boundary` is 128 random bits unless given.

        @app.get("/camera")
        def camera():
            return MultipartStreamingResponse(frames(), part_media_type="image/jpeg")
    """

    media_type = "multipart/x-mixed-replace"
    options = MultipartOptions
    part_media_type: str | None = None
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
            _, _, subtype = str(self.media_type).partition("/")
            typed = multipart_type(subtype, self._multipart.boundary)
            self.headers["content-type"] = typed.decode("latin-1")

    def make_encoder(self) -> Encoder[Any]:
        if not str(self.media_type).startswith("multipart/"):
            raise ValueError(
                f"the media_type of a multipart response must be multipart/..., "
                f"got {self.media_type!r}; part_media_type is the one of its parts"
            )
        self._multipart = MultipartEncoder(
            self.part_media_type,
            None if self.boundary is None else self.boundary.encode("latin-1"),
            replace=str(self.media_type).endswith("x-mixed-replace"),
        )
        return self._multipart
