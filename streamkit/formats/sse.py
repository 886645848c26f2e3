"""Server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Unpack

from starlette.background import BackgroundTask
from starlette.requests import HTTPConnection

from streamkit.declare import Option, anything
from streamkit.encoders import Encoder
from streamkit.encoders.sse import SSEEncoder, is_json_data
from streamkit.formats.json import ErrorItemOptions, ErrorItems, T
from streamkit.openapi import EventSchema, members_of
from streamkit.responses import OnClose, StreamingResponse

__all__ = ["SSEOptions", "SSEStreamingResponse", "last_event_id"]


class SSEOptions(ErrorItemOptions, total=False):
    """What event streams add to the class attributes."""

    farewell: object
    keep_alive_item: Annotated[
        object, Option(None, anything, text="Sent in silences, for the comment.", arguments=0)
    ]


class SSEStreamingResponse(ErrorItems[T]):
    """Streams server-sent events, `text/event-stream` (WHATWG HTML §9.2).

    Items are `ServerSentEvent`, `str` (sent as data), bytes (an encoded event, passed through),
    the event objects of FastAPI and sse-starlette, or anything else, which becomes JSON data.

    `farewell` is an event for the clients of an app that shuts down, by `graceful_shutdown`; the
    stream ends with it, and browsers reconnect, to the next process.

    A comment goes out as soon as the headers do, and after `keep_alive` (15.0) seconds of
    silence. `keep_alive_item` replaces it: an event, a `str` (the text of another comment), bytes,
    or a function without arguments that gives one of these each time. Bytes that are relayed may
    be cut anywhere: keep-alives, an error and the farewell come between two events only.

    `error_item`, a function from exception to item, says what the last event is if the content
    fails midway; it implies `error_frames`. For what it gives None, the default event is sent.

    The headers wait `first_chunk_timeout` (0.05) seconds for an exception that can still become a
    status. Proxies are told not to buffer, and caches not to store. All is UTF-8, and another
    `charset` is refused.

        @app.get("/tokens", response_class=SSEStreamingResponse)
        async def tokens():
            yield ServerSentEvent("Hello", event="token")
    """

    media_type = "text/event-stream"
    options: ClassVar[type] = SSEOptions
    keep_alive: float | None = 15.0
    first_chunk_timeout: float | None = 0.05
    farewell: object = None
    # A method too, for which no type says both to all checkers.
    keep_alive_item: Any = None
    _why_utf8 = "WHATWG HTML §9.2.4"
    # Browsers reconnect to the next process.
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
            etag: str | Literal[False] | None = None,
            last_modified: datetime | Literal[False] | None = None,
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
    def _with_items(cls, item: Any) -> type[StreamingResponse]:
        # The data of text, bytes and events may be anything.
        kinds = [each for each in members_of(item) if isinstance(each, type)]
        return super()._with_items(item) if all(map(is_json_data, kinds)) else cls

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
