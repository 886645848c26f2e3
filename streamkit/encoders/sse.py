"""Server-sent events: the `text/event-stream` format (WHATWG HTML §9.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Literal

from streamkit.encoders.jsonlines import Dumps, Serialise, error_object, json_serialiser

__all__ = ["SSEEncoder", "ServerSentEvent"]


class ServerSentEvent:
    """One event of an event stream; immutable, compared by its fields.

    * `data`: a `str` is sent as it is, anything else as JSON; `None` sends no data, and a browser
      then dispatches no event. Line breaks split it into data lines, as the standard says, so a
      reader gets each of them as a line feed.
    * `event`: the event's type, one line; a browser's default is `message`.
    * `id`: what a browser sends back as `Last-Event-ID`, one line without NUL; `""` resets it.
    * `retry`: milliseconds a browser waits before it reconnects, an `int` from 0 up.
    * `comment`: text that browsers ignore; each line becomes a comment line.

    Raises `TypeError` for a field of another type and `ValueError` for one that breaks its rule.

    >>> SSEEncoder().encode(ServerSentEvent("Hello", event="token", id="7"))
    b'event: token\\nid: 7\\ndata: Hello\\n\\n'
    """

    # Private slots with read-only properties: half the cost of a frozen dataclass to construct.
    __slots__ = ("_comment", "_data", "_event", "_id", "_retry")
    __match_args__ = ("data",)

    def __init__(
        self,
        data: object = None,
        *,
        event: str | None = None,
        id: str | None = None,  # noqa: A002 - the standard's name of the field
        retry: int | None = None,
        comment: str | None = None,
    ) -> None:
        if event is not None and (type(event) is not str or "\n" in event or "\r" in event):
            _check_line("event", event, "\r\n")
        if id is not None:
            _check_line("id", id, "\r\n\0")
        if retry is not None:
            _check_retry(retry)
        if comment is not None:
            _check_line("comment", comment, "")
        self._data = data
        self._event = event
        self._id = id
        self._retry = retry
        self._comment = comment

    @property
    def data(self) -> object:
        return self._data

    @property
    def event(self) -> str | None:
        return self._event

    @property
    def id(self) -> str | None:
        return self._id

    @property
    def retry(self) -> int | None:
        return self._retry

    @property
    def comment(self) -> str | None:
        return self._comment

    def _fields(self) -> tuple[object, ...]:
        return (self._data, self._event, self._id, self._retry, self._comment)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ServerSentEvent):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash(self._fields())

    def __repr__(self) -> str:
        names = ("event", "id", "retry", "comment")
        values = [repr(self._data)] if self._data is not None else []
        values += [f"{n}={v!r}" for n in names if (v := getattr(self, n)) is not None]
        return f"{type(self).__name__}({', '.join(values)})"


def _check_line(name: str, value: object, forbidden: str) -> None:
    if not isinstance(value, str):
        raise TypeError(
            f"ServerSentEvent {name} must be str, got {type(value).__name__}: {value!r:.60}; "
            f"pass str(...) of it"
        )
    for character in forbidden:
        if character in value:
            raise ValueError(
                f"ServerSentEvent {name} must be one line without NUL, got {value!r:.60}; send "
                f"text of several lines as data"
            )


def _check_retry(value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(
            f"ServerSentEvent retry must be whole milliseconds (int), got {value!r:.60}; for "
            f"seconds pass round(seconds * 1000)"
        )
    if value < 0:
        raise ValueError(f"ServerSentEvent retry must be 0 milliseconds or more, got {value}")


def _lines(text: str, separator: str) -> str:
    """The lines of `text` with `separator` between them; only CR LF, LF and CR end a line."""
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", separator)


def _utf8(text: str) -> bytes:
    if text.isascii():
        return text.encode()
    # By way of UTF-16 a pair of surrogates becomes its character, and a lone one U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


Writer = Callable[[Any, Serialise], bytes]


def _text(item: str, serialise: Serialise, head: str = "data: ") -> bytes:
    if "\n" in item or "\r" in item:
        item = _lines(item, "\ndata: ")
    text = head + item + "\n\n"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _utf8(text)


def _json(item: object, serialise: Serialise) -> bytes:
    return b"data: " + serialise(item) + b"\n\n"


def _raw(item: bytes | bytearray | memoryview, serialise: Serialise) -> bytes:
    return bytes(item)


def _head(item: ServerSentEvent) -> str:
    head = ""
    if item._comment is not None:
        head = ": " + _lines(item._comment, "\n: ") + "\n"
    if item._event is not None:
        head += "event: " + item._event + "\n"
    if item._id is not None:
        head += "id: " + item._id + "\n"
    if item._retry is not None:
        head += f"retry: {item._retry:d}\n"
    return head


def _event(item: ServerSentEvent, serialise: Serialise) -> bytes:
    head, data = _head(item), item._data
    if data is None:
        return _utf8(head + "\n")
    if isinstance(data, str):
        return _text(data, serialise, head + "data: ")
    return _utf8(head) + _json(data, serialise)


def _fastapi_event(item: Any, serialise: Serialise) -> bytes:
    data = item.raw_data if item.data is None else serialise(item.data).decode()
    fields = {name: getattr(item, name) for name in ("event", "id", "retry", "comment")}
    return _event(ServerSentEvent(data, **fields), serialise)


def _sse_starlette_event(item: Any, serialise: Serialise) -> bytes:
    frame: bytes = item.encode()
    return frame


def _writer_for(kind: type) -> Writer:
    if issubclass(kind, str):
        return _text
    if issubclass(kind, ServerSentEvent):
        return _event
    if issubclass(kind, (bytes, bytearray, memoryview)):
        return _raw
    # By name, so that neither package has to be installed.
    for base in kind.__mro__:
        if base.__name__ == "ServerSentEvent":
            if base.__module__ == "fastapi.sse":
                return _fastapi_event
            if base.__module__.startswith("sse_starlette"):
                return _sse_starlette_event
    return _json


class _Writers(dict[type, Writer]):
    """The writer of each type of item, looked for among its base classes once a stream."""

    __slots__ = ()

    def __missing__(self, kind: type) -> Writer:
        writer = self[kind] = _writer_for(kind)
        return writer


class _Heads(dict[str | None, str]):
    """What comes before the data of an event that has a type only; most streams have few types."""

    __slots__ = ()
    MOST = 100

    def __missing__(self, event: str | None) -> str:
        head = "data: " if event is None else f"event: {event}\ndata: "
        if len(self) < self.MOST:
            self[event] = head
        return head


def _quick(serialise: Serialise) -> Serialise:
    """The writers, with less to do for one line of text, alone or in an event."""
    writers, heads, plain_event = _Writers(), _Heads(), ServerSentEvent

    def quick(item: object) -> bytes:
        head, data = "data: ", item
        if type(item) is plain_event:
            data = item._data
            if item._comment is item._id is None is item._retry:
                head = heads[item._event]
            else:
                head = _head(item) + head
        if type(data) is str and "\n" not in data and "\r" not in data:
            text = f"{head}{data}\n\n"
            try:
                return text.encode()
            except UnicodeEncodeError:
                return _utf8(text)
        return writers[type(item)](item, serialise)

    return quick


class SSEEncoder:
    """Encodes items as an event stream (WHATWG HTML §9.2), UTF-8 with LF line ends.

    An item is a `ServerSentEvent`; a `str`, sent as data; bytes, already encoded and passed
    through; an event object of `fastapi.sse` or `sse_starlette`; or anything else, sent as JSON
    data. A lone surrogate in text is sent as U+FFFD. `dumps`, `adapter`, `nan` and what `encode`
    raises for JSON: see `streamkit.encoders.jsonlines.json_serialiser`.

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
        nan: Literal["null", "error"] = "null",
    ) -> None:
        # The function itself, without slots for pyright's sake: a method around it would cost a
        # fifth more.
        self.encode: Serialise = _quick(json_serialiser(dumps, adapter=adapter, nan=nan))

    def finish(self) -> bytes:
        """Nothing closes an event stream."""
        return b""

    def keep_alive(self) -> bytes:
        """A comment, which readers ignore."""
        return self.KEEP_ALIVE

    def error(self, exc_type: str, detail: str | None) -> bytes:
        """An event of type `error` with the data `{"error": {"type": ..., "detail": ...}}`."""
        return b"event: error\ndata: " + error_object(exc_type, detail) + b"\n\n"
