"""What the test gets: chunks as they come, whole responses, files, and refused websockets."""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from fastapi import FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket

from streamkit import testing
from streamkit.testing import Chunk, StreamClient, StreamOptions, fetch, stream
from tests.testing.apps import END, START, SpecVersions, app_of, body, sends, settle

pytestmark = pytest.mark.anyio


# --- a response arrives


async def test_each_body_message_is_one_chunk_and_arrives_in_order() -> None:
    app = sends(START, body(b"a"), body(b""), body(b"bc"), body(b"", more=False))
    async with stream(app) as client:
        assert [chunk async for chunk in client] == [b"a", b"bc"]
        assert client.complete
        assert client.bytes_received == 3
        assert [m["type"] for m in client.messages] == ["http.response.start"] + [
            "http.response.body"
        ] * 4


async def test_a_chunk_is_bytes_with_the_seconds_since_the_request() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"now"))
        await anyio.sleep(0.03)
        await send(body(b"later", more=False))

    async with stream(app_of(run)) as client:
        first, second = [chunk async for chunk in client]
    assert isinstance(first, Chunk)
    assert isinstance(first, bytes)
    assert 0 <= first.at < second.at
    assert second.at >= 0.025


async def test_a_chunk_is_read_while_the_app_still_makes_the_next() -> None:
    go_on = anyio.Event()

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"one"))
        await go_on.wait()
        await send(body(b"two", more=False))

    async with stream(app_of(run)) as client:
        assert await anext(client) == b"one"
        assert not client.complete
        go_on.set()
        assert await client.read() == b"two"
        assert await client.read() == b""


async def test_the_same_header_sent_twice_is_kept_twice_and_names_are_lower_case() -> None:
    headers = [(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2"), (b"X-Odd", b"\xe9")]
    async with stream(sends({**START, "status": 201, "headers": headers}, END)) as client:
        assert client.status == 201
        assert client.headers.getlist("set-cookie") == ["a=1", "b=2"]
        assert client.headers["x-odd"] == "\xe9"


async def test_headers_may_be_left_out_or_come_from_a_generator() -> None:
    start = {"type": "http.response.start", "status": 200}
    assert (await fetch(sends(start, END))).headers.raw == []
    lazy = ((b"x-n", b"%d" % n) for n in range(2))
    assert len((await fetch(sends({**start, "headers": lazy}, END))).headers) == 2


@pytest.mark.parametrize("data", [bytearray(b"ab"), memoryview(b"ab")])
async def test_any_bytes_like_body_is_taken_as_servers_take_it(data: Any) -> None:
    assert (await fetch(sends(START, body(data, more=False)))).body == b"ab"


async def test_a_head_response_has_no_body_whatever_the_app_sends() -> None:
    start = {**START, "headers": [(b"content-length", b"100")]}
    async with stream(sends(start, body(b"abc"), END), method="HEAD") as client:
        assert await client.read() == b""
        assert (client.complete, client.bytes_received) == (True, 0)
        assert client.messages[1]["body"] == b"abc"


async def test_nothing_is_recorded_on_request() -> None:
    async with stream(sends(START, body(b"abc", more=False)), record=False) as client:
        assert await client.read() == b"abc"
        assert client.messages == []


# --- files, websockets, whole responses


@pytest.mark.parametrize("size", [0, 10, 150_000])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_pathsend_delivers_the_file(tmp_path: Path, size: int, method: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(data := bytes(i % 251 for i in range(size)))
    offered: dict[str, Any] = {"http.response.pathsend": {}}
    async with stream(FileResponse(path), method=method, extensions=offered) as client:
        assert await client.read() == (data if method == "GET" else b"")
        assert client.complete
        last = client.messages[-1]["type"]
        assert last == ("http.response.pathsend" if method == "GET" else "http.response.body")


async def test_a_pathsend_of_a_file_that_is_missing_cuts_the_body() -> None:
    message = {"type": "http.response.pathsend", "path": "/no/such/file"}
    response = await fetch(sends(START, message), extensions={"http.response.pathsend": {}})
    assert not response.complete
    assert isinstance(response.error, FileNotFoundError)


@SpecVersions
async def test_a_disconnect_ends_a_pathsend(tmp_path: Path, spec_version: str) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"x" * 300_000)
    app = sends(START, {"type": "http.response.pathsend", "path": str(path)})
    async with stream(
        app, extensions={"http.response.pathsend": {}}, spec_version=spec_version, read_ahead=0
    ) as client:
        await anext(client)
        await client.disconnect()
        await client.wait_closed()
        assert client.bytes_received < 300_000
        assert isinstance(client.error, OSError) is (spec_version == "2.4")


async def test_a_websocket_can_be_denied_with_a_response() -> None:
    async def deny(websocket: WebSocket) -> None:
        await websocket.send_denial_response(PlainTextResponse("no", status_code=403))

    app = Starlette(routes=[WebSocketRoute("/ws", deny)])
    async with stream(app, "/ws", scope={"type": "websocket"}) as client:
        assert client.status == 403
        assert await client.read() == b"no"
        assert client.messages[0]["type"] == "websocket.http.response.start"


@pytest.mark.parametrize("early", [True, False])
async def test_a_websocket_app_receives_the_connect_and_then_the_disconnect(early: bool) -> None:
    received: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert "method" not in scope
        assert (scope["scheme"], scope["extensions"]) == ("ws", {"websocket.http.response": {}})
        received.append((await receive())["type"])
        received.append((await receive())["type"])

    async with stream(app, scope={"type": "websocket"}, wait_for_start=False) as client:
        if not early:
            await settle()
        await client.disconnect()
    assert received == ["websocket.connect", "websocket.disconnect"]
    assert client.error is None


async def test_a_websocket_that_is_accepted_is_refused_here() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["extensions"] == {}
        await send({"type": "websocket.accept"})

    with pytest.raises(RuntimeError, match=r"expected websocket\.http\.response\.start"):
        await fetch(app, scope={"type": "websocket"}, extensions={})


async def test_fetch_gives_the_whole_response() -> None:
    app = FastAPI()

    @app.post("/items/{number}")
    async def item(number: int, request: Request) -> dict[str, object]:
        return {"number": number, "body": (await request.body()).decode()}

    response = await fetch(app, "/items/7", method="POST", body=[b"a", b"b"])
    assert (response.status, response.complete, response.error) == (200, True, None)
    assert json.loads(response.body) == {"number": 7, "body": "ab"}
    assert response.headers["content-type"] == "application/json"


async def test_fetch_tells_of_a_cut_body_without_raising() -> None:
    response = await fetch(sends(START, body(b"abc"), then=LookupError()))
    assert (response.body, response.complete) == (b"abc", False)
    assert isinstance(response.error, LookupError)


async def test_it_agrees_with_httpx() -> None:
    app = FastAPI()

    @app.get("/missing")
    def missing() -> None:
        raise HTTPException(404, "gone", {"x-why": "test"})

    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        theirs = await client.get("/missing?a=1")
    ours = await fetch(app, "/missing?a=1")
    assert (ours.status, ours.body) == (theirs.status_code, theirs.content)
    assert dict(ours.headers) == dict(theirs.headers)


async def test_a_starlette_stream_arrives_chunk_by_chunk() -> None:
    async def numbers() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)

    async with stream(StreamingResponse(numbers())) as client:
        assert [bytes(chunk) async for chunk in client] == [b"0", b"1", b"2"]


# --- the surface


def test_the_options_of_fetch_are_those_of_stream() -> None:
    parameters = inspect.signature(stream).parameters.values()
    keywords = {p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}
    assert keywords == set(StreamOptions.__annotations__)


def test_the_public_names_are_sorted_and_documented() -> None:
    assert testing.__all__ == sorted(testing.__all__)
    assert all(inspect.getdoc(getattr(testing, name)) for name in testing.__all__)
    public = [v for k, v in vars(StreamClient).items() if not k.startswith("_")]
    assert all(inspect.getdoc(value) for value in public)
