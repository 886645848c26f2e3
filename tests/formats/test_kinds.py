"""What is a format's own: events and their silences, tables, and parts of a body."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from email import message_from_bytes
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request

from streamkit import (
    CSVStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    SSEStreamingResponse,
    last_event_id,
)
from streamkit.testing import fetch, stream, virtual_time
from tests.formats.support import ASYNCIO, PATIENCE, TRIO, UVLOOP, Camera, get

pytestmark = pytest.mark.anyio


# server-sent events


async def test_events_tell_proxies_and_caches_to_keep_off() -> None:
    headers = (await get(SSEStreamingResponse(["a"]))).headers

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert headers["x-accel-buffering"] == "no"
    assert "connection" not in headers


async def test_headers_of_the_user_win() -> None:
    given = {"Cache-Control": "no-store", "X-Accel-Buffering": "yes"}
    headers = (await get(SSEStreamingResponse(["a"], headers=given))).headers

    assert headers.getlist("cache-control") == ["no-store"]
    assert headers.getlist("x-accel-buffering") == ["yes"]


async def ready_then_silent() -> AsyncIterator[str]:
    yield "ready"
    await anyio.sleep_forever()


async def silent() -> AsyncIterator[str]:
    await anyio.sleep_forever()
    yield ""


@pytest.mark.defaults
async def test_the_headers_and_a_comment_go_out_before_the_first_event() -> None:
    with anyio.fail_after(PATIENCE):
        async with stream(SSEStreamingResponse(silent())) as client:
            assert await anext(client) == b": keep-alive\n\n"


async def test_the_first_event_goes_out_at_once() -> None:
    with anyio.fail_after(PATIENCE):
        async with stream(SSEStreamingResponse(ready_then_silent())) as client:
            assert await anext(client) == b"data: ready\n\n"


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_a_comment_ends_every_silence_of_15_seconds() -> None:
    with virtual_time():
        async with stream(SSEStreamingResponse(ready_then_silent())) as client:
            chunks = [await anext(client) for _ in range(3)]

    assert chunks == [b"data: ready\n\n", b": keep-alive\n\n", b": keep-alive\n\n"]
    # Not a word while events flow: the first comment is as late as was asked for.
    assert [chunk.at for chunk in chunks] == pytest.approx([0, 15, 30], abs=PATIENCE)


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_a_long_wait_for_the_first_event_delays_no_later_comment() -> None:
    async def late_then_silent() -> AsyncIterator[str]:
        await anyio.sleep(2)
        yield "ready"
        await anyio.sleep_forever()

    response = SSEStreamingResponse(late_then_silent(), first_chunk_timeout=60, keep_alive=5)
    with virtual_time():
        async with stream(response) as client:
            chunks = [await anext(client) for _ in range(2)]

    assert chunks == [b"data: ready\n\n", b": keep-alive\n\n"]
    assert [chunk.at for chunk in chunks] == pytest.approx([2, 7], abs=PATIENCE)


@pytest.mark.parametrize("anyio_backend", [UVLOOP])
async def test_a_comment_ends_every_silence_in_real_time() -> None:
    with anyio.fail_after(PATIENCE):
        async with stream(SSEStreamingResponse(ready_then_silent(), keep_alive=0.05)) as client:
            chunks = [await anext(client) for _ in range(3)]

    assert chunks == [b"data: ready\n\n", b": keep-alive\n\n", b": keep-alive\n\n"]
    assert chunks[1].at - chunks[0].at > 0.04


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, TRIO])
async def test_keep_alives_can_be_turned_off() -> None:
    with virtual_time():
        async with stream(SSEStreamingResponse(ready_then_silent(), keep_alive=None)) as client:
            assert await anext(client) == b"data: ready\n\n"
            with anyio.move_on_after(3600):
                assert await anext(client) is None


async def test_silent_streams_of_events_take_no_thread() -> None:
    # The tests run trio as a guest, which waits on a thread from its first wait on.
    await anyio.sleep(0.01)
    before = threading.active_count()
    async with stream(SSEStreamingResponse(silent(), first_chunk_timeout=0.01)) as client:
        await anext(client)
        # Fewer: idle threads of earlier tests end by and by.
        assert threading.active_count() <= before


@pytest.mark.parametrize("cursor", ["7", "", "żółw 🐢"])
async def test_the_reconnect_cursor_is_read_as_utf8(cursor: str) -> None:
    app = FastAPI()

    @app.get("/", response_class=SSEStreamingResponse)
    def log(request: Request):  # type: ignore[no-untyped-def]
        yield {"after": last_event_id(request)}

    header = {"last-event-id": cursor.encode().decode("latin-1")}
    response = await fetch(app, headers=header)
    assert json.loads(response.body.removeprefix(b"data: ")) == {"after": cursor}
    first = await fetch(app)
    assert json.loads(first.body.removeprefix(b"data: ")) == {"after": None}


# CSV


@dataclass
class Row:
    id: int
    name: str | None


@pytest.mark.parametrize(
    ("rows", "options", "expected"),
    [
        ([Row(1, "a"), Row(2, None)], {}, "id,name\r\n1,a\r\n2,\r\n"),
        ([{"b": 1, "a": 2}], {"columns": ["a", "b"]}, "a,b\r\n2,1\r\n"),
        ([(1, "x"), [2, "y"]], {"columns": ("n", "t")}, "n,t\r\n1,x\r\n2,y\r\n"),
        ([(1, "x")], {}, "1,x\r\n"),
        ([], {"columns": ["a"]}, "a\r\n"),
        ([{"a": "ö"}], {"excel": True}, "\ufeffa\r\nö\r\n"),
        ([{"a": "=1+1", "b": -1}], {"escape_formulas": True}, "a,b\r\n'=1+1,-1\r\n"),
        ([{"a": 1, "b": 2}], {"dialect": {"delimiter": ";"}}, "a;b\r\n1;2\r\n"),
        ([{"a": 'x"\r\n,'}], {}, 'a\r\n"x""\r\n,"\r\n'),
    ],
)
async def test_csv_has_a_header_and_options(rows: Any, options: Any, expected: str) -> None:
    class Export(CSVStreamingResponse):
        pass

    for name, value in options.items():
        setattr(Export, name, value)
    for response in (CSVStreamingResponse(rows, **options), Export(rows)):
        assert (await get(response)).body.decode() == expected


async def test_a_row_with_other_columns_is_an_error() -> None:
    response = await get(CSVStreamingResponse([{"a": 1}, {"b": 1}]))

    assert not response.complete
    assert str(response.error).startswith("CSV row 2 lacks ['a'] and has ['b'] beside the columns")


# multipart


@pytest.mark.parametrize(
    ("boundary", "written"), [("frame", "frame"), ("two words", '"two words"')]
)
async def test_the_content_type_names_the_boundary(boundary: str, written: str) -> None:
    parts = [MultipartPart(b"a", "text/plain")]
    response = await get(MultipartStreamingResponse(parts, boundary=boundary))

    expected = f"multipart/x-mixed-replace; boundary={written}"
    assert response.headers["content-type"] == expected
    assert f"\r\n--{boundary}\r\n".encode() in response.body


async def test_each_response_has_a_boundary_of_its_own() -> None:
    first, second = [await get(MultipartStreamingResponse([])) for _ in range(2)]

    assert first.headers["content-type"] != second.headers["content-type"]
    _, _, boundary = first.headers["content-type"].partition("boundary=")
    assert first.body == f"\r\n--{boundary}--\r\n".encode()


async def test_mixed_parts_have_lengths_and_headers() -> None:
    parts = [b"{}", MultipartPart(b"png", "image/png", {"Content-ID": "<a>"})]
    response = await get(
        MultipartStreamingResponse(
            parts, media_type="multipart/mixed", part_media_type="application/json"
        )
    )

    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()
    payload: Any = message_from_bytes(head + response.body).get_payload()
    first, second = payload
    assert (first.get_content_type(), first.get_payload()) == ("application/json", "{}")
    assert second.items() == [
        ("Content-Type", "image/png"),
        ("Content-ID", "<a>"),
        ("Content-Length", "3"),
    ]


@pytest.mark.parametrize("by", ["media_type", "headers"])
@pytest.mark.parametrize("typed", ["multipart/Mixed", "Multipart/X-Mixed-Replace; x=1"])
@pytest.mark.parametrize("boundary", ["", ";boundary=frame", '; Boundary="two words" ; y=2'])
async def test_the_type_and_the_body_have_one_boundary(by: str, typed: str, boundary: str) -> None:
    whole = typed + boundary
    given: Any = {by: whole if by == "media_type" else {"Content-Type": whole}}
    response = await get(MultipartStreamingResponse([MultipartPart(b"a")] * 2, **given))

    header = response.headers["content-type"]
    assert header.startswith(whole if boundary else typed.replace("Multi", "multi"))
    assert header.lower().count("boundary=") == 1
    head = f"Content-Type: {header}\r\n\r\n".encode()
    payload: Any = message_from_bytes(head + response.body).get_payload()
    replaces = "Replace" in typed
    # Where parts replace each other, the last one is sent again.
    assert [part.get_payload() for part in payload] == ["a"] * (3 if replaces else 2)
    assert (b"Content-Length" in response.body) is not replaces


async def test_a_type_that_does_not_fit_the_parts_is_refused() -> None:
    for given, error in (
        ({"media_type": "multipart/mixed; boundary=a", "boundary": "b"}, "leave one of them out"),
        ({"headers": {"content-type": "image/jpeg"}}, "must be multipart/..., got 'image/jpeg'"),
        ({"media_type": 'multipart/mixed; boundary="a;b"'}, "is not a multipart boundary"),
    ):
        with pytest.raises(ValueError, match=error):
            MultipartStreamingResponse([], **given)
    MultipartStreamingResponse([], media_type="multipart/mixed; boundary=a", boundary="a")


async def test_bytes_without_a_type_are_refused() -> None:
    with pytest.raises(TypeError, match="pass part_media_type="):
        await get(MultipartStreamingResponse([b"png"]))


async def test_moving_pictures_go_out_whole_as_they_come() -> None:
    async def pictures() -> AsyncIterator[bytes]:
        yield b"png 1"
        await anyio.sleep_forever()

    with anyio.fail_after(PATIENCE):
        async with stream(Camera(pictures())) as client:
            first = await anext(client)
    # A browser shows a picture when it sees the beginning of the next one.
    start = b"\r\n--frame\r\nContent-Type: image/png\r\n\r\n"
    assert first == start + b"png 1" + start
