"""JSON lines and JSON arrays, and what all formats of JSON share."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Generic, Literal, Unpack

from pydantic import TypeAdapter
from starlette.background import BackgroundTask
from typing_extensions import TypeVar

from streamkit.declare import Option, function, one_of
from streamkit.encoders import Encoder
from streamkit.encoders.charsets import require_utf8
from streamkit.encoders.jsonarray import JSONArrayEncoder
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.openapi import Responses
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = [
    "ErrorItemOptions",
    "ErrorItems",
    "JSONArrayStreamingResponse",
    "JSONItems",
    "JSONLinesStreamingResponse",
    "JSONOptions",
]

# A subclass without an argument has items of any type.
T = TypeVar("T", default=Any)


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


class JSONItems(StreamingResponse, Generic[T]):
    """What the JSON formats share: how a value is written, and the type of the items.

    `dumps` (pydantic's serialiser) may be `orjson.dumps` or any other; `default` is as that of
    `json.dumps`; `nan` is "null", or "error" to refuse NaN, infinities and NaT.
    """

    options: ClassVar[type] = JSONOptions
    _has_own_encoder = True
    # Functions, or methods of a subclass, as `error_detail`.
    dumps: Any = None
    default: Any = None
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
            etag: str | Literal[False] | None = None,
            last_modified: datetime | Literal[False] | None = None,
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

    def _checked_encoder(self) -> Encoder[Any]:
        require_utf8(self._charset, type(self).__name__, self._why_utf8)
        return super()._checked_encoder()

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
    def _with_items(cls, item: Any) -> type[StreamingResponse]:
        generic: Any = cls
        typed: type[StreamingResponse] = generic if cls.item_adapter else generic[item]
        return typed

    @classmethod
    def _item_schema(cls) -> Any:
        """The type whose JSON schema is that of one item."""
        return cls.item_type


class ErrorItems(JSONItems[T]):
    """What the JSON formats with room for an error share."""

    options: ClassVar[type] = ErrorItemOptions
    error_item: Any = None

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
            etag: str | Literal[False] | None = None,
            last_modified: datetime | Literal[False] | None = None,
            on_close: OnClose | None = None,
            **options: Unpack[ErrorItemOptions],
        ) -> None: ...

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


class JSONLinesStreamingResponse(ErrorItems[T]):
    """Streams each item as one line of JSON, `application/jsonl`.

    Items are all that pydantic serialises (dicts, dataclasses, models, datetimes, UUIDs, Decimals)
    and other mappings and rows with names: SQLAlchemy's `Row`, `sqlite3.Row`,
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


class JSONArrayStreamingResponse(JSONItems[T]):
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
