"""Items as a log keeps them: made bytes once, when they are appended."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic_core import from_json

from streamkit.encoders.jsonlines import json_serialiser
from streamkit.encoders.sse import ServerSentEvent

__all__ = ["END", "Payload", "Record", "end_payload", "end_state", "payload_of", "value_of"]

JSON, TEXT, BYTES, EVENT, END = "j", "t", "b", "e", "x"


class Payload(NamedTuple):
    """What an item becomes in a log: one letter for its kind, and its bytes."""

    kind: str
    data: bytes


class Record(NamedTuple):
    """An item, or the end of a run, with the id that the log gave it."""

    id: str
    kind: str
    data: bytes


_to_json = json_serialiser()
_PLAIN = frozenset((dict, list, tuple, int, float, bool, type(None)))


def payload_of(item: object) -> Payload:
    """Encode an item; `TypeError` and `ValueError` for what JSON can't hold."""
    if type(item) in _PLAIN:
        return Payload(JSON, _to_json(item))
    if isinstance(item, str):
        return Payload(TEXT, _utf8(item))
    if isinstance(item, bytes):
        return Payload(BYTES, item)
    if isinstance(item, bytearray | memoryview):
        return Payload(BYTES, bytes(item))
    if isinstance(item, ServerSentEvent):
        return _event(item.data, item.event, item.retry, item.comment)
    # By name, so that neither package has to be installed.
    for base in type(item).__mro__:
        if base.__name__ == "ServerSentEvent":
            if base.__module__ == "fastapi.sse":
                return _fastapi_event(item)
            if base.__module__.startswith("sse_starlette"):
                return Payload(BYTES, item.encode())  # type: ignore[attr-defined]
    return Payload(JSON, _to_json(item))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A pair of surrogates becomes its character, and a lone one U+FFFD, as in event streams.
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _event(data: object, event: str | None, retry: int | None, comment: str | None) -> Payload:
    # The id is the log's. One line of JSON for the fields, then the data.
    if data is None:
        kind, body = "", b""
    elif isinstance(data, str):
        kind, body = TEXT, _utf8(data)
    else:
        kind, body = JSON, _to_json(data)
    fields = json.dumps([kind, event, retry, comment], separators=(",", ":"))
    return Payload(EVENT, fields.encode() + b"\n" + body)


def _fastapi_event(item: Any) -> Payload:
    data = item.raw_data if item.data is None else item.data
    if item.data is not None and isinstance(data, str):
        # FastAPI makes text JSON as well, unless it is raw.
        data = _to_json(data).decode()
    return _event(data, item.event, item.retry, item.comment)


def event_of(record: Record) -> tuple[ServerSentEvent, bytes | None]:
    """The event of a record without its data if that is JSON, which comes beside it."""
    head, _, body = record.data.partition(b"\n")
    kind, event, retry, comment = json.loads(head)
    data = body.decode() if kind == TEXT else None
    one = ServerSentEvent(data, event=event, id=record.id, retry=retry, comment=comment)
    return one, body if kind == JSON else None


def value_of(record: Record) -> Any:
    """The item again: text, bytes and events as they were, anything else as JSON has it."""
    if record.kind == TEXT:
        return record.data.decode()
    if record.kind == BYTES:
        return record.data
    if record.kind == JSON:
        return from_json(record.data)
    event, body = event_of(record)
    if body is None:
        return event
    return ServerSentEvent(
        from_json(body), event=event.event, id=event.id, retry=event.retry, comment=event.comment
    )


def end_payload(state: str, reason: str = "") -> Payload:
    """The record that ends a run: "done", "failed" or "cancelled", and one line about why."""
    return Payload(END, f"{state} {reason}".encode())


def end_state(record: Record) -> tuple[str, str]:
    """State and reason of an end."""
    state, _, reason = record.data.decode().partition(" ")
    return state, reason
