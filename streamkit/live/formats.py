"""Records as the chunks of each format: encoded once, however many readers follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamkit.encoders.jsonlines import JSONLinesEncoder, json_serialiser
from streamkit.encoders.relay import Relay
from streamkit.encoders.sse import ServerSentEvent, SSEEncoder
from streamkit.live.records import EVENT, JSON, TEXT, Record, event_of, value_of

__all__ = ["EventFormat", "ItemFormat", "LineFormat", "RecordFormat", "format_for"]


class RecordFormat:
    """How the records of a log look in one kind of response."""

    shared = True
    """Whether a record's chunk is the same for every reader."""
    has_events = False
    """Whether the format carries ids, and events beside the items."""

    def encode(self, record: Record) -> Any:
        """The chunk of a record."""
        raise NotImplementedError  # pragma: no cover - subclasses have it

    def opening(self, position: str) -> Any | None:
        """What tells the reader where it begins, if anything."""
        return None

    def gap(self, after: str, position: str) -> Any:
        """What tells the reader that items are missing."""
        raise NotImplementedError  # pragma: no cover - subclasses have it


class EventFormat(RecordFormat):
    """Server-sent events, each with the id of its record."""

    has_events = True

    def __init__(self) -> None:
        self._encode = SSEEncoder().encode

    def encode(self, record: Record) -> bytes:
        id_, kind, data = record
        if kind == JSON:
            return b"id: %b\ndata: %b\n\n" % (id_.encode(), data)
        if kind == TEXT:
            if b"\n" in data or b"\r" in data:
                return self._encode(ServerSentEvent(data.decode(), id=id_))
            return b"id: %b\ndata: %b\n\n" % (id_.encode(), data)
        if kind == EVENT:
            event, body = event_of(record)
            head = self._encode(event)
            return head if body is None else b"%bdata: %b\n\n" % (head[:-1], body)
        relay = Relay()
        relay.feed(data)
        if relay.open:
            raise ValueError(
                f"bytes that are followed as events must be whole events, and {data!r:.60} ends "
                f"within one; split what is cut anywhere: live.start(split_events(content))"
            )
        # The last id in an event is the one that counts.
        return b"%b\nid: %b\n\n" % (data.rstrip(b"\r\n"), id_.encode())

    def opening(self, position: str) -> bytes:
        return b"id: %b\n\n" % position.encode()

    def gap(self, after: str, position: str) -> bytes:
        return self._encode(ServerSentEvent({"after": after}, event="gap", id=position))


class LineFormat(RecordFormat):
    """JSON lines."""

    _json = staticmethod(json_serialiser())

    def encode(self, record: Record) -> bytes:
        if record.kind == JSON:
            return record.data + b"\n"
        if record.kind == EVENT:
            event, body = event_of(record)
            return (self._json(event.data) if body is None else body) + b"\n"
        return self._json(value_of(record)) + b"\n"


class ItemFormat(RecordFormat):
    """The items themselves, for an encoder that each response has for itself."""

    shared = False

    def __init__(self, encode: Callable[[Any], Any] | None = None) -> None:
        self._encode = encode

    def encode(self, record: Record) -> Any:
        value = value_of(record)
        if self._encode is None:
            return value
        return self._encode(value.data if isinstance(value, ServerSentEvent) else value)

    def gap(self, after: str, position: str) -> Any:
        return ServerSentEvent({"after": after}, event="gap", id=position)


EVENTS, LINES = EventFormat(), LineFormat()


def format_for(encoder: Any) -> RecordFormat:
    """The format of a response's encoder; an unknown one encodes each reader's items anew."""
    if isinstance(encoder, SSEEncoder):
        return EVENTS
    if isinstance(encoder, JSONLinesEncoder):
        return LINES
    return ItemFormat(encoder.encode)
