from __future__ import annotations

import copy
import doctest
import json
import pickle
from enum import Enum, IntEnum
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from streamkit.encoders import Encoder, sse
from streamkit.encoders.sse import ServerSentEvent, SSEEncoder

from .test_jsonlines import json_values


def encode(*items: object, **options: Any) -> bytes:
    encoder = SSEEncoder(**options)
    return b"".join([encoder.encode(item) for item in items]) + encoder.finish()


def lines_of(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def test_its_examples_run() -> None:
    assert doctest.testmod(sse).failed == 0


def test_it_is_an_encoder() -> None:
    assert isinstance(SSEEncoder(), Encoder)


class Mood(str, Enum):  # noqa: UP042 - its str() is not its value
    GOOD = "good"


class Pause(IntEnum):
    SHORT = 100


@pytest.mark.parametrize(
    ("item", "frame"),
    [
        ("hello", b"data: hello\n\n"),
        ("", b"data: \n\n"),
        ("  two spaces", b"data:   two spaces\n\n"),
        ("a\r\nb\rc\nd", b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        ("\n", b"data: \ndata: \n\n"),
        ("ö\u2028\x85\x0b\x0c\x00\ufeff", "data: ö\u2028\x85\x0b\x0c\x00\ufeff\n\n".encode()),
        ("\ud800", "data: \ufffd\n\n".encode()),
        ("\ud83d\ude00\nx", "data: 😀\ndata: x\n\n".encode()),
        (Mood.GOOD, b"data: good\n\n"),
        (None, b"data: null\n\n"),
        ({"a": "x\ny\u2028"}, b'data: {"a":"x\\ny\\u2028"}\n\n'),
        (7, b"data: 7\n\n"),
        (b"data: raw\n\n", b"data: raw\n\n"),
        (bytearray(b": raw\n\n"), b": raw\n\n"),
        (memoryview(b": raw\n\n"), b": raw\n\n"),
        (ServerSentEvent(), b"\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent("a\nb"), b"data: a\ndata: b\n\n"),
        (ServerSentEvent(["a\nb"]), b'data: ["a\\nb"]\n\n'),
        (ServerSentEvent(0, event="e"), b"event: e\ndata: 0\n\n"),
        (ServerSentEvent(id="7"), b"id: 7\n\n"),
        (ServerSentEvent(id=""), b"id: \n\n"),
        (ServerSentEvent(retry=1500), b"retry: 1500\n\n"),
        (ServerSentEvent(retry=Pause.SHORT), b"retry: 100\n\n"),
        (ServerSentEvent(comment="a\r\nb"), b": a\n: b\n\n"),
        (ServerSentEvent(comment=""), b": \n\n"),
        (ServerSentEvent(event=Mood.GOOD), b"event: good\n\n"),
        (ServerSentEvent({}, event="\udead"), "event: \ufffd\ndata: {}\n\n".encode()),
        (
            ServerSentEvent("d", event="e", id="i", retry=0, comment="c"),
            b": c\nevent: e\nid: i\nretry: 0\ndata: d\n\n",
        ),
    ],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_an_item_becomes_a_frame(item: object, frame: bytes) -> None:
    assert encode(item) == frame


def test_a_subclass_of_the_event_is_an_event() -> None:
    class Token(ServerSentEvent):
        pass

    assert encode(Token("a")) == b"data: a\n\n"
    assert repr(Token("a")) == "Token('a')"


@pytest.mark.parametrize("field", ["event", "id", "comment"])
def test_a_text_field_of_another_type_is_refused(field: str) -> None:
    with pytest.raises(TypeError, match=rf"ServerSentEvent {field} must be str, got int: 5; pass"):
        ServerSentEvent("x", **{field: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("event", value) for value in ("a\nb", "a\rb", "a\r\n", "\n")],
        *[("id", value) for value in ("a\nb", "a\rb", "\r\n", "a\0b")],
    ],
)
def test_a_field_of_one_line_refuses_what_would_break_the_frame(field: str, value: str) -> None:
    with pytest.raises(ValueError, match=rf"ServerSentEvent {field} must be one line") as caught:
        ServerSentEvent("x", **{field: value})  # type: ignore[arg-type]
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("retry", [True, 1.5, "100"])
def test_retry_is_an_int(retry: Any) -> None:
    with pytest.raises(TypeError, match=r"retry must be whole milliseconds \(int\), got .*1000\)"):
        ServerSentEvent(retry=retry)


def test_retry_is_not_negative() -> None:
    with pytest.raises(ValueError, match="must be 0 milliseconds or more, got -1"):
        ServerSentEvent(retry=-1)


@pytest.mark.parametrize("field", ["data", "event", "id", "retry", "comment", "other"])
def test_an_event_cannot_be_changed(field: str) -> None:
    with pytest.raises(AttributeError):
        setattr(ServerSentEvent("a"), field, "b")


def test_events_are_compared_hashed_shown_and_copied_by_their_fields() -> None:
    event = ServerSentEvent("a", event="e", id="1", retry=5, comment="c")
    assert repr(event) == "ServerSentEvent('a', event='e', id='1', retry=5, comment='c')"
    assert repr(ServerSentEvent(id="1")) == "ServerSentEvent(id='1')"
    twin = ServerSentEvent("a", event="e", id="1", retry=5, comment="c")
    assert event == twin == copy.copy(event) == pickle.loads(pickle.dumps(event))
    assert hash(event) == hash(twin)
    assert event != ServerSentEvent("a")
    assert event != "a"
    match event:
        case ServerSentEvent(data):
            assert data == "a"


def read_with_httpx_sse(body: bytes, step: int) -> list[Any]:
    httpx_sse = pytest.importorskip("httpx_sse")

    def answer(request: httpx.Request) -> httpx.Response:
        pieces = (body[start : start + step] for start in range(0, len(body), step))
        return httpx.Response(200, content=pieces, headers={"Content-Type": "text/event-stream"})

    with (
        httpx.Client(transport=httpx.MockTransport(answer)) as client,
        httpx_sse.connect_sse(client, "GET", "http://test/") as source,
    ):
        return list(source.iter_sse())


line = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
text = st.text(st.characters(exclude_categories=["Cs"]))
events = st.builds(
    ServerSentEvent,
    text | json_values.filter(lambda value: value is not None),
    event=st.none() | line.filter(bool),
    id=st.none() | line,
    retry=st.none() | st.integers(0, 10**9),
    comment=st.none() | text,
)


@given(st.lists(events, max_size=5), st.integers(1, 7))
def test_httpx_sse_reads_back_every_event(sent: list[ServerSentEvent], step: int) -> None:
    received = read_with_httpx_sse(encode(*sent), step)
    assert len(received) == len(sent)
    last_id = ""
    for event, found in zip(sent, received, strict=True):
        last_id = event.id if event.id is not None else last_id
        if isinstance(event.data, str):
            assert found.data == lines_of(event.data)
        else:
            assert json.loads(found.data) == event.data
        assert (found.event, found.id, found.retry) == (
            event.event or "message",
            last_id,
            event.retry,
        )


@given(st.lists(st.text()))
def test_httpx_sse_reads_back_all_text_but_lone_surrogates(sent: list[str]) -> None:
    received = read_with_httpx_sse(encode(*sent), 5)
    expected = [
        lines_of(item).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        for item in sent
    ]
    assert [event.data for event in received] == expected


def test_keep_alives_and_comments_reach_no_reader_of_events() -> None:
    keep_alive = SSEEncoder().keep_alive()
    assert keep_alive is SSEEncoder().keep_alive()
    body = keep_alive + encode("a") + keep_alive + encode(ServerSentEvent(comment="c"), "b")
    assert [event.data for event in read_with_httpx_sse(body, 4)] == ["a", "b"]


def test_the_error_frame_is_an_event_named_error() -> None:
    encoder = SSEEncoder()
    assert encoder.error("ValueError", None) == (
        b'event: error\ndata: {"error":{"type":"ValueError","message":"ValueError",'
        b'"detail":null}}\n\n'
    )
    (found,) = read_with_httpx_sse(encoder.error("KeyError", "a\nb\u2028"), 3)
    assert found.event == "error"
    assert found.json() == {
        "error": {"type": "KeyError", "message": "a\nb\u2028", "detail": "a\nb\u2028"}
    }


def test_events_of_fastapi_are_sent_as_fastapi_would() -> None:
    fastapi_sse = pytest.importorskip("fastapi.sse")
    event = fastapi_sse.ServerSentEvent
    items = [
        event(data="text", event="e", id="1", retry=5, comment="c"),
        event(data={"a": "x\ny"}),
        event(raw_data="raw\nlines"),
        event(comment="only"),
    ]
    assert encode(*items) == (
        b': c\nevent: e\nid: 1\nretry: 5\ndata: "text"\n\n'
        b'data: {"a":"x\\ny"}\n\n'
        b"data: raw\ndata: lines\n\n"
        b": only\n\n"
    )


def test_events_of_sse_starlette_are_sent_as_they_encode_themselves() -> None:
    sse_starlette = pytest.importorskip("sse_starlette")

    class Mine(sse_starlette.ServerSentEvent):  # type: ignore[misc, name-defined]
        pass

    for item in (
        Mine("a\nb", event="e", id="1", retry=5, comment="c"),
        sse_starlette.JSONServerSentEvent({"a": 1}),
    ):
        assert encode(item) == item.encode()


def test_another_class_of_that_name_is_json() -> None:
    class ServerSentEvent(BaseModel):
        data: str

    assert encode(ServerSentEvent(data="a")) == b'data: {"data":"a"}\n\n'


def test_dumps_adapter_and_nan_are_those_of_json_lines() -> None:
    assert encode([1, 2], dumps=json.dumps) == b"data: [1, 2]\n\n"
    assert encode(["1"], ServerSentEvent(["2"]), adapter=list[int]) == b"data: [1]\n\ndata: [2]\n\n"
    with pytest.raises(ValueError, match="JSON has no NaN"):
        encode(float("nan"), nan="error")
    with pytest.raises(TypeError, match="an item of type object cannot be sent as JSON"):
        encode(object())


def test_a_stream_may_have_any_number_of_types() -> None:
    events = [ServerSentEvent("x", event=f"type {number % 300}") for number in range(600)]
    expected = "".join(f"event: {event.event}\ndata: x\n\n" for event in events)
    assert encode(*events) == expected.encode()


def test_a_large_event_is_whole() -> None:
    assert encode("x\n" * 500_000) == b"data: x\n" * 500_000 + b"data: \n\n"
