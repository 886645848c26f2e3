"""Frames that come from elsewhere, cut anywhere: where another frame may be put between them."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.encoders.sse import ServerSentEvent, SSEEncoder

ENDS = ["\n", "\r\n", "\r"]
EVENTS = [
    ["data: one"],
    [": a comment", "event: e", "id: 7", "data: two", "data: lines"],
    ["data"],
    ["retry: 5"],
    ["data: \u00fc"],
]


def stream_of(end: str) -> bytes:
    return "".join(end.join([*event, "", ""]) for event in EVENTS).encode()


def is_between(sent: bytes) -> bool:
    """The standard's words: no line has begun and, since the last blank line, no field has come."""
    lines = re.split(rb"\r\n|\r|\n", sent)
    if lines.pop():
        return False
    fields = False
    for line in lines:
        fields = bool(line) and (fields or not line.startswith(b":"))
    return not fields


def relayed(*chunks: bytes) -> SSEEncoder:
    encoder = SSEEncoder()
    for chunk in chunks:
        assert encoder.encode(chunk) == chunk
    return encoder


@pytest.mark.parametrize("end", ENDS, ids=["LF", "CR LF", "CR"])
def test_a_stream_is_between_frames_after_its_blank_lines_at_every_cut(end: str) -> None:
    body = stream_of(end)
    for cut in range(len(body) + 1):
        for again in range(cut, len(body) + 1):
            encoder = relayed(body[:cut], body[cut:again])
            assert encoder.between_frames is is_between(body[:again]), body[:again]
    bytewise = SSEEncoder()
    found = []
    for position in range(len(body)):
        bytewise.encode(body[position : position + 1])
        found.append(bytewise.between_frames)
    assert found == [is_between(body[: position + 1]) for position in range(len(body))]
    assert found[-1]


parts = st.sampled_from([b"\n", b"\r", b":", b"a", b"data: x", b"\r\n", b"\n\n", b"id: 7\n"])
pieces = st.lists(st.lists(parts, max_size=5).map(b"".join), max_size=8)


@given(pieces)
@example([b"data: x\r", b"\n\r", b"\n"])
@example([b"data: x\r", b"\r"])
@example([b": c\n", b": d"])
@example([b"data: x\n", b"\n\n", b"\n"])
def test_any_bytes_in_any_pieces_are_followed(chunks: list[bytes]) -> None:
    encoder = SSEEncoder()
    sent = b""
    for chunk in chunks:
        sent += encoder.encode(chunk)
        assert encoder.between_frames is is_between(sent)
    assert sent == b"".join(chunks)


def read(body: bytes) -> list[tuple[str, str, str]]:
    httpx_sse = pytest.importorskip("httpx_sse")
    response = httpx.Response(200, content=body, headers={"Content-Type": "text/event-stream"})
    return [
        (event.event, event.data, event.id) for event in httpx_sse.EventSource(response).iter_sse()
    ]


@pytest.mark.parametrize("end", ENDS, ids=["LF", "CR LF", "CR"])
def test_keep_alives_at_every_cut_of_a_relayed_stream_disturb_no_event(end: str) -> None:
    body = stream_of(end)
    expected = read(body)
    for cut in range(len(body) + 1):
        encoder = SSEEncoder()
        sent = encoder.encode(body[:cut])
        if encoder.between_frames:
            sent += encoder.keep_alive() + encoder.keep_alive()
        sent += encoder.encode(body[cut:])
        assert read(sent) == expected, sent


def test_the_line_feed_of_a_cut_cr_lf_makes_no_blank_line_behind_a_keep_alive() -> None:
    encoder = SSEEncoder()
    sent = encoder.encode(b"data: x\r\n\r") + encoder.keep_alive()
    sent += encoder.encode(b"") + encoder.encode(b"\n") + encoder.encode(b"data: y\r\n\r\n")
    assert sent == b"data: x\r\n\r: keep-alive\n\ndata: y\r\n\r\n"
    # Without one nothing of the stream is left out.
    assert relayed(b"data: x\r\n\r", b"\n", b"\n").between_frames


def test_an_event_of_ones_own_ends_what_was_open() -> None:
    for item in ("text", "two\nlines", {"a": 1}, ServerSentEvent("x"), ServerSentEvent(id="7")):
        encoder = relayed(b"data: half")
        assert not encoder.between_frames
        encoder.encode(item)
        assert encoder.between_frames


def test_an_item_that_cannot_be_encoded_ends_nothing() -> None:
    encoder = relayed(b"data: half")
    with pytest.raises(TypeError):
        encoder.encode(object())
    assert not encoder.between_frames


def test_bytes_of_every_kind_are_followed() -> None:
    for kind in (bytes, bytearray, memoryview):
        encoder = SSEEncoder()
        encoder.encode(kind(b"data: x"))
        assert not encoder.between_frames
        encoder.encode(kind(b"\n\n"))
        assert encoder.between_frames


def test_a_stream_begins_between_frames() -> None:
    assert SSEEncoder().between_frames
    assert relayed(b"", b"").between_frames


def test_formats_of_whole_frames_need_not_say_so() -> None:
    encoder: Any = JSONLinesEncoder()
    assert not hasattr(encoder, "between_frames")
