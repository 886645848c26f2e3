"""Server-sent events: the `text/event-stream` format (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from streamkit.encoders.events import ServerSentEvent, head_of, is_comment, text_frame, utf8
from streamkit.encoders.jsonlines import Dumps, NaN, Serialise, error_object, json_serialiser
from streamkit.encoders.jsonvalues import Default
from streamkit.encoders.relay import Relay

__all__ = ["SSEEncoder", "ServerSentEvent", "is_json_data"]

Writer = Callable[[Any, Serialise], bytes]


def _text(item: str, serialise: Serialise) -> bytes:
    return text_frame(str.__str__(item))


def _json(item: object, serialise: Serialise) -> bytes:
    return b"data: " + serialise(item) + b"\n\n"


def _event(item: ServerSentEvent, serialise: Serialise) -> bytes:
    head, data = head_of(item), item._data
    if data is None:
        return utf8(head + "\n")
    if isinstance(data, str):
        return text_frame(str.__str__(data), head + "data: ")
    return utf8(head) + _json(data, serialise)


def _fastapi_event(item: Any, serialise: Serialise) -> bytes:
    data = item.raw_data if item.data is None else serialise(item.data).decode()
    fields = {name: getattr(item, name) for name in ("event", "id", "retry", "comment")}
    return _event(ServerSentEvent(data, **fields), serialise)


def _sse_starlette_event(item: Any, serialise: Serialise) -> bytes:
    frame: bytes = item.encode()
    return frame


def _writer_for(kind: type) -> Writer | None:
    """What writes the events of a type; `None` for bytes, which are passed through."""
    if issubclass(kind, str):
        return _text
    if issubclass(kind, ServerSentEvent):
        return _event
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return None
    # By name, so that neither package has to be installed.
    for base in kind.__mro__:
        if base.__name__ == "ServerSentEvent":
            if base.__module__ == "fastapi.sse":
                return _fastapi_event
            if base.__module__.startswith("sse_starlette"):
                return _sse_starlette_event
    return _json


def is_json_data(kind: type) -> bool:
    """Whether an item of a type becomes JSON data: all but text, bytes and events."""
    return _writer_for(kind) is _json


class _Writers(dict[type, Writer | None]):
    """The writer of each type of item, for the first `MOST`: it is looked for by its bases."""

    __slots__ = ()
    MOST = 1000

    def __missing__(self, kind: type) -> Writer | None:
        writer = _writer_for(kind)
        if len(self) < self.MOST:
            self[kind] = writer
        return writer


class _Heads(dict[str | None, str]):
    """What comes before the data of an event that has a type only; most apps have few types."""

    __slots__ = ()
    MOST = 1000

    def __missing__(self, event: str | None) -> str:
        head = "data: " if event is None else f"event: {event}\ndata: "
        if len(self) < self.MOST:
            self[event] = head
        return head


# Of all streams.
_writers, _heads = _Writers(), _Heads()


def _quick(serialise: Serialise, relay: Relay) -> Serialise:
    """The writers, with less to do for one line of text, alone or in an event."""
    writers, heads, plain_event = _writers, _heads, ServerSentEvent

    def quick(item: Any) -> bytes:
        head, data = "data: ", item
        if type(item) is plain_event:
            data = item._data
            if item._comment is item._id is None is item._retry:
                head = heads[item._event]
            else:
                head = head_of(item) + head
                if item._id:
                    relay.id_sent = True
        if type(data) is str and "\n" not in data and "\r" not in data:
            text = f"{head}{data}\n\n"
            try:
                frame = text.encode()
            except UnicodeEncodeError:
                frame = utf8(text)
        else:
            writer = writers[type(item)]
            if writer is None:
                chunk: bytes = bytes(item)  # pyright: ignore
                return relay.feed(chunk)
            frame = writer(item, serialise)
            if writer is not _json and writer is not _text and item.id not in (None, ""):
                relay.id_sent = True
        if relay.open:
            relay.reset()
        return frame

    return quick


class SSEEncoder:
    """Encodes items as an event stream (WHATWG HTML §9.2), UTF-8 with LF line ends.

    An item is a `ServerSentEvent`; a `str`, sent as data; bytes, already encoded and passed
    through, which may be cut anywhere; an event object of `fastapi.sse` or `sse_starlette`; or
    anything else, sent as JSON data. A lone surrogate in text is sent as U+FFFD. `dumps`,
    `adapter`, `nan`, `default` and what `encode` raises for JSON: see
    `streamkit.encoders.jsonlines.json_serialiser`.

    `keep_alive_item` is sent in silences instead of the comment `: keep-alive`: a `str`, the text
    of another comment; bytes, whole lines; any other item, such as a `ServerSentEvent`; or a
    function without arguments that gives one each time, or None for the default. Raises
    `ValueError` for bytes that do not end where a keep-alive may end.

    >>> SSEEncoder().encode({"id": 1})
    b'data: {"id":1}\\n\\n'
    """

    # The blank line sends it on through readers that wait for the end of an event.
    KEEP_ALIVE: ClassVar[bytes] = b": keep-alive\n\n"

    def __init__(
        self,
        dumps: Dumps | None = None,
        *,
        adapter: object = None,
        nan: NaN = "null",
        default: Default | None = None,
        keep_alive_item: object = None,
    ) -> None:
        self._relay = Relay()
        # The function itself, without slots for pyright's sake: a method around it would cost a
        # fifth more.
        serialise = json_serialiser(dumps, adapter=adapter, nan=nan, default=default)
        self.encode: Serialise = _quick(serialise, self._relay)
        # Keep-alives and farewells need not be of the type of the items.
        self._untyped: Serialise = self.encode
        if adapter is not None:
            untyped = json_serialiser(dumps, nan=nan, default=default)
            self._untyped = _quick(untyped, self._relay)
        self._keep_alive_item = keep_alive_item
        if keep_alive_item is not None and not callable(keep_alive_item):
            # Its errors show now, and the trial leaves no trace.
            trial = Relay()
            encode = _quick(json_serialiser(dumps, nan=nan, default=default), trial)
            _keep_alive(keep_alive_item, encode, trial)

    @property
    def between_frames(self) -> bool:
        """Whether an event has ended, and no other has begun, in all that was encoded so far.

        Only then a keep-alive, an error or a farewell may be put into the stream. It is False
        after bytes that end within an event.
        """
        return not self._relay.open

    def finish(self) -> bytes:
        """Nothing closes an event stream."""
        return b""

    def keep_alive(self) -> bytes:
        """What breaks a silence: a comment, which readers ignore, or the `keep_alive_item`.

        A blank line stands behind a comment until an event with an id was sent. From then on some
        clients (httpx-sse, openai) take each blank line for an event, and it is left out.
        """
        self._relay.interrupt()
        item = self._keep_alive_item
        if callable(item):
            item = item()
        return _keep_alive(item, self._untyped, self._relay)

    def expect_ids(self) -> None:
        """Take it that events with ids are sent, which were encoded elsewhere."""
        self._relay.id_sent = True

    def error(self, exc_type: str, detail: str | None) -> bytes:
        """An event of type `error`; its data is `{"error": {"type", "message", "detail"}}`."""
        return b"event: error\ndata: " + error_object(exc_type, detail) + b"\n\n"

    def error_item(self, item: object) -> bytes:
        """The event of an item that tells of an error; it may be of any type."""
        return self._untyped(item)


def _keep_alive(item: Any, encode: Serialise, relay: Relay) -> bytes:
    if isinstance(item, (bytes, bytearray, memoryview)):
        return _whole_lines(bytes(item), relay)
    if isinstance(item, str):
        item = ServerSentEvent(comment=item)
    frame = SSEEncoder.KEEP_ALIVE if item is None else encode(item)
    only_comment = item is None or (isinstance(item, ServerSentEvent) and is_comment(item))
    return frame[:-1] if only_comment and relay.id_sent else frame


def _whole_lines(frame: bytes, relay: Relay) -> bytes:
    alone = Relay()
    alone.feed(frame)
    if not frame or alone.open:
        raise ValueError(
            f"a keep_alive_item of bytes must be comment lines, or an event with its blank line, "
            f"got {frame!r:.60}"
        )
    relay.id_sent = relay.id_sent or alone.id_sent
    return frame
