"""One server-sent event, and the lines it becomes (WHATWG HTML §9.2)."""

from __future__ import annotations

__all__ = ["ServerSentEvent", "head_of", "is_comment", "text_frame", "utf8"]


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

    >>> from streamkit.encoders.sse import SSEEncoder
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
            event = _checked("event", event, "\r\n")
        if id is not None:
            id = _checked("id", id, "\r\n\0")  # noqa: A001
        if retry is not None:
            _check_retry(retry)
        if comment is not None:
            comment = _checked("comment", comment, "")
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


def _checked(name: str, value: object, forbidden: str) -> str:
    if not isinstance(value, str):
        raise TypeError(
            f"ServerSentEvent {name} must be str, got {type(value).__name__}: {value!r:.60}; "
            f"pass str(...) of it"
        )
    # A subclass (an enum, say) may show, compare and format itself as something else.
    text = str.__str__(value)
    for character in forbidden:
        if character in text:
            raise ValueError(
                f"ServerSentEvent {name} must be one line without NUL, got {text!r:.60}; send "
                f"text of several lines as data"
            )
    return text


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


def utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    # By way of UTF-16 a pair of surrogates becomes its character, and a lone one U+FFFD.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def text_frame(text: str, head: str = "data: ") -> bytes:
    """The frame of an event whose data is text; `head` is what stands before it."""
    if "\n" in text or "\r" in text:
        text = _lines(text, "\ndata: ")
    return utf8(head + text + "\n\n")


def head_of(event: ServerSentEvent) -> str:
    """The lines before the data."""
    head = ""
    if event._comment is not None:
        head = ": " + _lines(event._comment, "\n: ") + "\n"
    if event._event is not None:
        head += "event: " + event._event + "\n"
    if event._id is not None:
        head += "id: " + event._id + "\n"
    if event._retry is not None:
        head += f"retry: {event._retry:d}\n"
    return head


def is_comment(event: ServerSentEvent) -> bool:
    """Whether it is a comment, and nothing that a reader takes note of."""
    silent = event._event is event._id is None is event._retry
    return silent and event._data is None and event._comment is not None
