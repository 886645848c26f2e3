"""What a response is made of, and what middleware may change until it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from streamkit import PlainTextStreamingResponse, StreamingResponse, StreamOutcome
from streamkit.testing import fetch, stream
from tests.failing import FOREVER, Beating

pytestmark = pytest.mark.anyio


# a websocket's denial


async def test_a_websocket_can_be_denied_with_a_stream() -> None:
    response = StreamingResponse(["go ", "away"], 403)
    async with stream(response, scope={"type": "websocket"}) as client:
        assert client.status == 403
        assert await client.read() == b"go away"
        types = {message["type"] for message in client.messages}
    assert types == {"websocket.http.response.start", "websocket.http.response.body"}


# middleware recipes


async def test_the_body_can_be_read() -> None:
    response = StreamingResponse(["a", "b"])
    assert b"".join([part async for part in response.body_iterator]) == b"ab"


async def test_the_body_can_be_read_and_put_back() -> None:
    response = StreamingResponse(["a", "b"])
    parts = [part async for part in response.body_iterator]

    async def again() -> AsyncIterator[bytes]:
        for part in parts:
            yield part

    response.body_iterator = again()
    assert (await fetch(response)).body == b"ab"


async def test_the_body_can_be_wrapped_and_both_are_closed() -> None:
    closed: list[str] = []

    async def inner() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"a"
        finally:
            closed.append("inner")

    response = StreamingResponse(inner())

    async def outer(body: Any) -> AsyncIterator[bytes]:
        try:
            async for part in body:
                yield part.upper()
        finally:
            closed.append("outer")

    wrapper = outer(response.body_iterator)
    response.body_iterator = wrapper
    assert response.body_iterator is wrapper
    async with stream(response) as client:
        assert (await anext(client)).startswith(b"A")
        await client.disconnect()
        await client.wait_closed()
        assert sorted(closed) == ["inner", "outer"]


async def test_the_body_can_be_replaced_unread_and_is_closed() -> None:
    class Content:
        closed = 0

        def __iter__(self) -> Iterator[bytes]:
            raise AssertionError

        def close(self) -> None:
            self.closed += 1

    content = Content()
    response = StreamingResponse(content)
    response.body_iterator = ["other"]  # type: ignore[assignment]
    assert (await fetch(response)).body == b"other"
    assert content.closed == 1


async def test_the_replacement_of_a_body_is_not_encoded_again() -> None:
    response = StreamingResponse(iter("ab"), encoder=Beating)
    parts = [part async for part in response.body_iterator]
    response.body_iterator = parts  # type: ignore[assignment]
    assert (await fetch(response)).body == b"ab!"


async def test_headers_can_be_changed_until_the_response_is_called() -> None:
    response = StreamingResponse(["x"], headers={"x-one": "1"}, media_type="text/plain")
    response.headers["x-two"] = "2"
    response.raw_headers.append((b"x-three", b"3"))
    response.headers.raw.append((b"x-four", b"4"))
    response.set_cookie("name", "value")
    response.status_code = 202
    received = await fetch(response)
    assert received.status == 202
    assert [received.headers[f"x-{n}"] for n in ("one", "two", "three", "four")] == list("1234")
    assert received.headers["content-type"] == "text/plain; charset=utf-8"
    assert "name=value" in received.headers["set-cookie"]


async def test_a_stream_that_was_sent_says_so_when_it_is_sent_again() -> None:
    response = StreamingResponse(iter([b"x"]))
    await fetch(response)
    with pytest.raises(RuntimeError, match="already"):
        await fetch(response)


# construction


def generator_function() -> Iterator[bytes]:
    yield b""


async def coroutine_function() -> bytes:
    return b""


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: 5, ["got int", "for a fixed body use Response"]),
        (lambda: None, ["got NoneType"]),
        (lambda: object(), ["got object"]),
        (lambda: {"a": 1}, ["got dict", "JSONResponse"]),
        (lambda: generator_function, ["got function", "call it: generator_function()"]),
        (lambda: coroutine_function(), ["got coroutine", "await it first"]),
    ],
    ids=["int", "None", "object", "dict", "function", "coroutine"],
)
def test_content_that_can_not_be_streamed_is_refused_with_the_way_out(
    make: Callable[[], Any], words: list[str]
) -> None:
    with pytest.raises(TypeError) as caught:
        StreamingResponse(make())
    assert all(word in str(caught.value) for word in ["StreamingResponse content", *words])


def test_a_file_that_is_open_for_writing_only_is_refused_and_not_taken(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        with pytest.raises(TypeError, match=r"reads the files .* is open for writing only"):
            StreamingResponse(file)
        assert not file.closed


class NoEncoder:
    pass


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"max_buffer": 0}, ValueError, ["max_buffer", "positive", "0"]),
        ({"max_buffer": -1}, ValueError, ["max_buffer", "positive", "-1"]),
        ({"max_buffer": "1"}, TypeError, ["max_buffer", "'1'"]),
        ({"max_buffer": 1.5}, TypeError, ["max_buffer", "1.5"]),
        ({"first_chunk_timeout": -1}, ValueError, ["first_chunk_timeout", "0 or more", "-1"]),
        ({"first_chunk_timeout": float("nan")}, ValueError, ["first_chunk_timeout", "nan"]),
        ({"send_timeout": "5"}, TypeError, ["send_timeout", "seconds", "'5'"]),
        ({"send_timeout": 0}, ValueError, ["send_timeout", "None for no limit"]),
        ({"keep_alive": 0}, ValueError, ["keep_alive", "more than 0"]),
        ({"keep_alive": 5}, ValueError, ["keep_alive=5", "encoder", "TextEncoder"]),
        ({"cleanup_timeout": -0.1}, ValueError, ["cleanup_timeout", "-0.1"]),
        ({"encoder": NoEncoder}, TypeError, ["encode(item)", "finish()", "NoEncoder"]),
        ({"max_bufer": 5}, TypeError, ["'max_bufer'", "max_buffer", "send_timeout"]),
        ({"filename": ""}, ValueError, ["filename", "None for no name"]),
        ({"filename": 5}, TypeError, ["filename", "int"]),
        ({"etag": "v7"}, ValueError, ["v7"]),
        ({"charset": 8}, TypeError, ["charset must be a str", "8"]),
        ({"encoder": 8}, TypeError, ["encoder must be callable", "int", "8"]),
        ({"on_close": 8}, TypeError, ["on_close must be callable", "int", "8"]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_arguments_that_make_no_sense_are_refused_at_construction(
    options: dict[str, Any], error: type[Exception], words: list[str]
) -> None:
    with pytest.raises(error) as caught:
        StreamingResponse([b"x"], **options)
    assert all(word in str(caught.value) for word in words), caught.value


def test_an_on_close_that_is_no_function_is_refused_where_the_class_is_made() -> None:
    with pytest.raises(TypeError, match="on_close must be callable, got str: 'log'"):
        type("Logged", (StreamingResponse,), {"on_close": "log"})


async def test_charset_is_that_of_the_text_and_of_the_header() -> None:
    response = StreamingResponse(["Öl"], media_type="text/plain", charset="latin-1")
    received = await fetch(response)
    assert received.body == b"\xd6l"
    assert received.headers["content-type"] == "text/plain; charset=latin-1"


@pytest.mark.parametrize(
    ("given", "content_type", "codec"),
    [
        ({"charset": "utf-16"}, "text/plain; charset=utf-16", "utf-16"),
        ({"charset": "UTF32"}, "text/plain; charset=UTF32", "utf-32"),
        ({"charset": "utf-8-sig"}, "text/plain; charset=utf-8", "utf-8-sig"),
        (
            {"media_type": 'text/plain; Charset="latin-1"; format=flowed'},
            'text/plain; Charset="latin-1"; format=flowed',
            "latin-1",
        ),
        ({"media_type": "text/plain; x-charset=latin-1"}, None, "utf-8"),
        ({"headers": {"content-type": "text/plain; charset=utf-16"}}, None, "utf-16"),
        ({"media_type": "text/x; charset=UTF-8", "charset": "utf-8-sig"}, None, "utf-8-sig"),
        ({"media_type": "text/x; charset="}, None, "utf-8"),
    ],
)
async def test_text_is_of_the_charset_that_its_type_says_with_one_mark(
    given: dict[str, Any], content_type: str | None, codec: str
) -> None:
    for content in (["é", "ö", "ü"], "éöü"):
        received = await fetch(PlainTextStreamingResponse(content, **given))
        assert received.body == "éöü".encode(codec)
        if content_type is not None:
            assert received.headers["content-type"] == content_type


async def test_a_body_that_is_replaced_is_of_the_charset_of_the_type() -> None:
    response = StreamingResponse([], media_type="text/plain; charset=latin-1")
    response.body_iterator = ["é"]
    assert (await fetch(response)).body == b"\xe9"


async def test_a_charset_that_is_none_is_for_bytes_alone() -> None:
    for make in (
        lambda: type("X", (StreamingResponse,), {"charset": "klingon"}),
        lambda: PlainTextStreamingResponse([], charset="klingon"),
        lambda: PlainTextStreamingResponse("x", media_type="text/plain; charset=klingon"),
    ):
        with pytest.raises(ValueError, match="charset 'klingon' is none that Python can encode"):
            make()
    with pytest.raises(ValueError, match="says charset=latin-1, and its text is written in utf-8"):
        PlainTextStreamingResponse([], media_type="text/x; charset=latin-1", charset="utf-8")
    # A type that was passed on, with its bytes.
    headers = {"content-type": "text/plain; charset=klingon"}
    assert (await fetch(StreamingResponse([b"x"], headers=headers))).body == b"x"
    with pytest.raises(ValueError, match="charset 'klingon' is none"):
        await fetch(StreamingResponse(["x"], headers=headers))


async def test_a_subclass_needs_a_media_type_and_nothing_else() -> None:
    class WASMStreamingResponse(StreamingResponse):
        media_type = "application/wasm"

    received = await fetch(WASMStreamingResponse([b"\0asm"]))
    assert received.headers["content-type"] == "application/wasm"


async def test_class_attributes_configure_and_arguments_override_them() -> None:
    outcomes: list[StreamOutcome] = []

    class Configured(StreamingResponse):
        media_type = "text/plain"
        charset = "latin-1"
        max_buffer = 10
        send_timeout = 5
        first_chunk_timeout = None
        encoder = Beating
        keep_alive = FOREVER
        on_close = staticmethod(outcomes.append)

    response = Configured(["a"], max_buffer=20, media_type="text/csv")
    assert (response.max_buffer, Configured.max_buffer) == (20, 10)
    received = await fetch(response)
    assert received.body == b"a!"
    assert received.headers["content-type"] == "text/csv; charset=latin-1"
    assert outcomes[0].reason == "complete"
