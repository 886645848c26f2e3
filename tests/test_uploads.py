"""A response that streams while the request's body is read: nothing of it is lost in silence."""

from __future__ import annotations

import gc
import hashlib
import random
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from starlette.requests import Request
from starlette.types import Receive, Scope, Send

from streamkit import BodyCut, StreamingResponse, request_chunks
from streamkit.asgi import listen
from streamkit.testing import fetch, stream
from tests.server import Reply, Server, parse, serving
from tests.test_servers import GRANIAN, HYPERCORN, UVICORN
from tests.upload_app import WAYS, app, intercepting

pytestmark = pytest.mark.anyio

PIECES = [random.Random(number).randbytes(50_000) for number in range(100)]
BODY = b"".join(PIECES)
DIGEST = hashlib.sha256(BODY).hexdigest().encode()

SERVERS = {
    "uvicorn-h11": [*UVICORN, "--http=h11", "tests.upload_app:app"],
    "uvicorn-httptools": [*UVICORN, "--http=httptools", "tests.upload_app:app"],
    "hypercorn-trio": [*HYPERCORN, "--worker-class=trio", "tests.upload_app:app"],
    "granian": [*GRANIAN, "tests.upload_app:app"],
}
PATHS = [*WAYS, "fastapi/yielding", "echo"]


async def in_turns() -> AsyncIterator[bytes]:
    for piece in PIECES:
        await anyio.lowlevel.checkpoint()
        yield piece


def is_whole(body: bytes) -> bool:
    return body.endswith(DIGEST) or body == BODY


@pytest.mark.parametrize("middlewares", [0, 2])
@pytest.mark.parametrize("path", PATHS)
async def test_nothing_of_an_upload_is_lost(path: str, middlewares: int) -> None:
    with anyio.fail_after(20):
        response = await fetch(app, f"/{middlewares}/{path}", method="POST", body=in_turns())
    assert (response.status, response.complete) == (200, True)
    assert is_whole(response.body)


@pytest.mark.parametrize("path", WAYS)
async def test_nothing_is_lost_in_a_response_of_a_middleware_itself(path: str) -> None:
    with anyio.fail_after(20):
        response = await fetch(intercepting, f"/{path}", method="POST", body=in_turns())
    assert response.complete
    assert is_whole(response.body)


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with serving(SERVERS[request.param]) as server:
        yield server


def upload(server: Server, path: str) -> Reply:
    """Send the body in 100 chunks, and read the answer when the body is out."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        for piece in PIECES:
            connection.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.sendall(b"0\r\n\r\n")
        answer = b""
        while data := connection.recv(1 << 20):
            answer += data
    return parse(answer)


@pytest.mark.parametrize("middlewares", [0, 1])
@pytest.mark.parametrize("path", ["request_chunks", "generator", "hidden", "fastapi/yielding"])
def test_five_megabytes_in_100_chunks_arrive(server: Server, path: str, middlewares: int) -> None:
    reply = upload(server, f"/{middlewares}/{path}")
    assert reply.complete
    assert is_whole(reply.body)


@pytest.mark.parametrize("middlewares", [0, 1, 2])
async def test_content_that_calls_receive_itself_is_cut_with_the_way_out(middlewares: int) -> None:
    with anyio.fail_after(20):
        response = await fetch(
            app, f"/{middlewares}/plain-asgi", method="POST", body=in_turns(), headers={"a": "b"}
        )
    assert not (response.status == 200 and response.complete)
    assert "request_chunks(request)" in str(response.error)


async def test_a_reader_that_comes_too_late_is_cut_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen, "PATIENCE", 0.01)
    begin = anyio.Event()

    async def late(request: Request) -> AsyncIterator[bytes]:
        yield b"first"
        await begin.wait()
        async for chunk in request.stream():
            yield chunk

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        await StreamingResponse(late(Request(scope, receive)))(scope, receive, send)

    async with stream(endpoint, method="POST", body=in_turns()) as client:
        assert await anext(client) == b"first"
        await anyio.sleep(0.1)
        begin.set()
        with pytest.raises(BodyCut):
            await client.read()
        assert "request_chunks(request)" in str(client.error)


async def test_request_chunks_are_kept_for_a_reader_who_comes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(listen, "PATIENCE", 0.01)

    async def late(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        yield b"first"
        await anyio.sleep(0.1)
        async for chunk in chunks:
            yield chunk

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        chunks = request_chunks(Request(scope, receive))
        await StreamingResponse(late(chunks))(scope, receive, send)

    response = await fetch(endpoint, method="POST", body=in_turns())
    assert response.body == b"first" + BODY


@pytest.mark.parametrize("size", [0, 10, 100])
async def test_an_upload_that_nobody_reads_does_not_hide_that_the_client_leaves(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listen, "PATIENCE", 0.01)
    async with stream(app, "/1/ignore", method="POST", body=PIECES[:size]) as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()
        assert client.error is None


async def test_request_chunks_that_are_left_before_their_end_need_no_close() -> None:
    async def upload(scope: Scope, receive: Receive, send: Send) -> None:
        async def generate(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
            async for chunk in chunks:
                yield chunk[:10]
                break

        chunks = request_chunks(Request(scope, receive))
        await StreamingResponse(generate(chunks))(scope, receive, send)
        del chunks
        # trio tells of a generator that is left to the collector.
        gc.collect()

    response = await fetch(upload, method="POST", body=in_turns())
    assert (response.body, response.complete) == (BODY[:10], True)


async def test_a_body_that_was_read_already_is_refused_at_once() -> None:
    refusals: list[Any] = []

    async def endpoint(scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body()
        try:
            request_chunks(request)
        except RuntimeError as exc:
            refusals.append(exc)
        await StreamingResponse([b"done"])(scope, receive, send)

    assert (await fetch(endpoint, method="POST", body=b"read")).body == b"done"
    assert "was read already" in str(refusals[0])


@pytest.mark.parametrize("path", ["request_chunks", "generator", "thread"])
async def test_a_client_that_leaves_in_the_middle_of_its_upload_ends_the_reader(path: str) -> None:
    more = anyio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"half"
        await more.wait()

    async with stream(app, f"/1/{path}", method="POST", body=half()) as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()
