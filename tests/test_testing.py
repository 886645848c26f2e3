from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from fastapi import FastAPI, HTTPException, Request
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.responses import FileResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from streamkit import testing
from streamkit.errors import BodyCut
from streamkit.testing import Chunk, StreamClient, StreamOptions, fetch, stream
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
END: Message = {"type": "http.response.body"}
SpecVersions = pytest.mark.parametrize("spec_version", ["2.1", "2.3", "2.4"])


def body(data: Any, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


def sends(*messages: Message, then: BaseException | None = None) -> ASGIApp:
    """An app that sends these messages, and then raises."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


def app_of(run: Callable[[Receive, Send], Awaitable[None]]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await run(receive, send)

    return app


async def until_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def ticker(seen: list[str]) -> ASGIApp:
    """Sends the start and one chunk, then waits for the disconnect."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        await send(body(b"tick"))
        await until_disconnect(receive)
        seen.append("disconnect")

    return app


async def settle() -> None:
    for _ in range(10):
        await checkpoint()


async def echo_scope(scope: Scope, receive: Receive, send: Send) -> None:
    shown = {key: value for key, value in scope.items() if key not in ("headers", "app")}
    shown["headers"] = [(n.decode(), v.decode()) for n, v in scope["headers"]]
    await send(START)
    await send(body(json.dumps(shown, default=repr).encode(), more=False))


async def scope_of(path: str = "/", **options: Any) -> dict[str, Any]:
    response = await fetch(echo_scope, path, **options)
    shown: dict[str, Any] = json.loads(response.body)
    return shown


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


# --- the request


async def test_path_and_query_reach_the_scope_decoded_and_raw() -> None:
    scope = await scope_of("/a%20b/\u00fc?q=%C3%BC&x=1")
    assert scope["path"] == "/a b/\u00fc"
    assert scope["raw_path"] == repr(b"/a%20b/%C3%BC")
    assert scope["query_string"] == repr(b"q=%C3%BC&x=1")


async def test_a_question_mark_that_is_encoded_stays_in_the_path() -> None:
    scope = await scope_of("/a%3Fb")
    assert (scope["path"], scope["query_string"]) == ("/a?b", repr(b""))


async def test_a_path_without_its_slash_is_refused() -> None:
    with pytest.raises(ValueError, match='start with "/"'):
        await fetch(echo_scope, "items")


@pytest.mark.parametrize("headers", [{"X-Y": "1"}, [("X-Y", "1")], [(b"x-y", b"1")]])
async def test_headers_are_a_mapping_or_pairs(headers: Any) -> None:
    assert (await scope_of(headers=headers))["headers"] == [["host", "testserver"], ["x-y", "1"]]


async def test_a_host_header_given_replaces_the_default() -> None:
    assert (await scope_of(headers={"Host": "a.example"}))["headers"] == [["host", "a.example"]]


async def test_scope_keys_are_added_and_replaced() -> None:
    scope = await scope_of(scope={"state": {"db": 1}, "root_path": "/v1"}, http_version="2")
    assert scope["state"] == {"db": 1}
    assert (scope["root_path"], scope["http_version"]) == ("/v1", "2")
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.3"}


@pytest.mark.parametrize("options", [{"rate": 0}, {"read_ahead": -1}])
async def test_a_rate_or_read_ahead_that_makes_no_sense_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="read_ahead"):
        await fetch(echo_scope, **options)


def receiver(got: list[Message]) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            got.append(message)
            if not message.get("more_body"):
                break
        await send(START)
        await send(END)

    return app


async def pieces() -> AsyncIterator[bytes]:
    yield b"a"
    await checkpoint()
    yield b"b"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (b"", [(b"", False)]),
        (b"ab", [(b"ab", False)]),
        ([], [(b"", False)]),
        ([b"a", b"b"], [(b"a", True), (b"b", False)]),
        (pieces, [(b"a", True), (b"b", True), (b"", False)]),
    ],
    ids=["none", "bytes", "no pieces", "list", "async"],
)
async def test_a_request_body_is_bytes_or_pieces(given: Any, expected: Any) -> None:
    got: list[Message] = []
    content: Any = given() if callable(given) else given
    await fetch(receiver(got), method="POST", body=content)
    assert [(m["body"], m["more_body"]) for m in got] == expected


@pytest.mark.parametrize(
    ("given", "headers", "framing"),
    [
        (b"abc", {}, ["content-length", "3"]),
        ([b"abc"], {}, ["transfer-encoding", "chunked"]),
        (b"abc", {"Content-Length": "99"}, ["content-length", "99"]),
    ],
)
async def test_a_request_body_is_announced(given: Any, headers: Any, framing: Any) -> None:
    shown = (await scope_of(method="POST", body=given, headers=headers))["headers"]
    assert [pair for pair in shown if pair[0] != "host"] == [framing]


class Upload:
    """Endless pieces; counts how many were taken, and whether it was closed."""

    taken = 0
    closed = False

    def __aiter__(self) -> Upload:
        return self

    async def __anext__(self) -> bytes:
        self.taken += 1
        return b"x"

    async def aclose(self) -> None:
        self.closed = True


class FailingUpload:
    def __aiter__(self) -> FailingUpload:
        return self

    async def __anext__(self) -> bytes:
        raise LookupError("upload")


async def test_an_upload_is_taken_as_the_app_receives_it_and_closed_at_the_end() -> None:
    upload = Upload()

    async def run(receive: Receive, send: Send) -> None:
        await receive()
        await receive()
        await send(START)
        await send(END)
        assert (await receive())["type"] == "http.disconnect"

    async with stream(app_of(run), method="POST", body=upload) as client:
        await client.wait_closed()
        assert client.error is None
        await settle()
    assert upload.taken <= 3
    assert upload.closed


async def test_an_upload_that_fails_fails_the_test_with_its_own_exception() -> None:
    with pytest.raises(LookupError, match="upload"):
        await fetch(app_of(lambda receive, send: until_disconnect(receive)), body=FailingUpload())


# --- an app that fails


async def test_an_app_that_raises_before_the_start_raises_as_itself_on_entering() -> None:
    error = LookupError("no")
    with pytest.raises(LookupError) as caught:
        async with stream(sends(then=error)):
            raise AssertionError("entered")
    assert caught.value is error


async def test_an_app_that_returns_before_the_start_is_an_error_on_entering() -> None:
    with pytest.raises(RuntimeError, match=r"without starting a response$"):
        await fetch(sends())


@pytest.mark.parametrize("error", [None, LookupError("mid-stream")])
async def test_a_body_that_the_app_cuts_never_looks_complete(error: LookupError | None) -> None:
    async with stream(sends(START, body(b"abc"), then=error)) as client:
        assert await anext(client) == b"abc"
        with pytest.raises(BodyCut) as caught:
            await anext(client)
        assert caught.value.received == 3
        assert caught.value.__cause__ is error
        assert client.error is error
        assert not client.complete
        await client.disconnect()
        with pytest.raises(BodyCut):
            await client.read()


async def test_an_error_after_a_complete_body_is_in_error_only() -> None:
    async def fail(request: Request) -> None:
        raise LookupError("handled by ServerErrorMiddleware, and raised again")

    async with stream(Starlette(routes=[Route("/", fail)])) as client:
        assert client.status == 500
        assert await client.read() == b"Internal Server Error"
        await client.wait_closed()
        assert isinstance(client.error, LookupError)


async def test_an_error_after_the_disconnect_is_in_error_only() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        raise LookupError("late")

    async with stream(app_of(run)) as client:
        pass
    assert isinstance(client.error, LookupError)


@pytest.mark.parametrize("anyio_backend", BACKENDS[:2])
async def test_an_app_whose_task_is_cancelled_cuts_the_body_and_not_the_test() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await checkpoint()

    async with stream(app_of(run)) as client:
        with pytest.raises(BodyCut):
            await client.read()
        assert isinstance(client.error, asyncio.CancelledError)
    await checkpoint()


class Stop(BaseException):
    """Like KeyboardInterrupt, but no event loop treats it specially."""


async def test_what_no_server_survives_comes_out_as_itself() -> None:
    with pytest.raises(Stop):
        async with stream(sends(START, then=Stop())):
            await anyio.sleep_forever()
    with pytest.raises(Stop):
        async with stream(ticker([])):
            raise Stop


# --- what breaks the ASGI specification


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([body(b"")], "expected http.response.start"),
        ([START, START], "expected http.response.body"),
        ([START, END, END], "the response is complete"),
        ([START, END, START], "the response is complete"),
        ([{"type": "http.response.strat"}], "'http.response.strat'"),
        ([{"type": "start", "status": 200}], "'start'"),
        ([{"status": 200}], "None"),
        ([START, {"type": "http.response.pathsend", "path": "x"}], "pathsend"),
        ([START, body("text")], "must be bytes, got str"),
        ([START, body(None)], "must be bytes, got NoneType"),
        ([{**START, "status": "200"}], "status must be an int"),
        ([{**START, "status": 100}], "status must be an int"),
        ([{**START, "headers": [("x", b"y")]}], "must be bytes, got 'x'"),
        ([{**START, "headers": [(b"x", "y")]}], "must be bytes"),
        ([{**START, "headers": [(b"x", b"a\r\nb: c")]}], "control character"),
        ([{**START, "headers": [(b"", b"a")]}], "no name"),
        ([{**START, "headers": [(b"content-length", b"-1")]}], "decimal number, got '-1'"),
        ([{**START, "headers": [(b"content-length", b"2")]}, body(b"abc")], "1 bytes longer"),
        ([{**START, "headers": [(b"Content-Length", b"2")]}, END], "2 bytes shorter"),
        ([{**START, "status": 204}, body(b"a")], "1 bytes longer"),
    ],
)
async def test_an_app_that_breaks_the_specification_gets_a_runtime_error(
    messages: list[Message], text: str
) -> None:
    async with stream(sends(*messages), wait_for_start=False) as client:
        await client.wait_closed()
        assert isinstance(client.error, RuntimeError)
        assert text in str(client.error)
        assert len(client.messages) == len(messages) - 1


async def test_a_304_may_carry_the_length_of_the_body_it_does_not_have() -> None:
    start = {**START, "status": 304, "headers": [(b"content-length", b"100")]}
    assert (await fetch(sends(start, END))).complete


# --- leaving


async def test_a_disconnect_ends_the_iteration_after_what_had_arrived() -> None:
    seen: list[str] = []
    async with stream(ticker(seen)) as client:
        await settle()
        await client.disconnect()
        assert await client.read() == b"tick"
        await client.wait_closed()
        assert seen == ["disconnect"]
        assert not client.complete


async def test_leaving_the_block_disconnects_and_waits_for_the_app() -> None:
    seen: list[str] = []
    async with stream(ticker(seen)) as client:
        assert not client.closed
    assert client.closed
    assert seen == ["disconnect"]


@SpecVersions
async def test_send_after_a_disconnect_does_what_the_spec_version_says(spec_version: str) -> None:
    outcome: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        try:
            await send(body(b"late"))
            outcome.append("silent")
        except OSError:
            outcome.append("OSError")

    async with stream(app_of(run), spec_version=spec_version) as client:
        await client.disconnect()
        assert await client.read() == b""
    assert outcome == ["OSError" if spec_version == "2.4" else "silent"]
    assert len(client.messages) == 1


@SpecVersions
async def test_a_client_may_leave_before_the_response_starts(spec_version: str) -> None:
    received: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        received.append((await receive())["type"])
        await send(START)

    async with stream(
        app_of(run), spec_version=spec_version, wait_for_start=False, body=b"unread"
    ) as client:
        await client.disconnect()
        await client.wait_closed()
        with pytest.raises(RuntimeError, match="no response has arrived"):
            _ = client.status
        with pytest.raises(OSError if spec_version == "2.4" else RuntimeError, match="client ha"):
            await client.started()
        assert await client.read() == b""
    assert received == ["http.disconnect"]
    assert client.messages == []


async def test_receive_tells_of_a_disconnect_once_the_response_is_complete() -> None:
    received: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await send(END)
        received.append((await receive())["type"])

    async with stream(app_of(run), body=b"unread") as client:
        await client.wait_closed()
    assert received == ["http.disconnect"]


async def test_background_tasks_end_before_wait_closed_returns() -> None:
    seen: list[str] = []

    async def background() -> None:
        await settle()
        seen.append("background")

    response = PlainTextResponse("hi", background=BackgroundTask(background))
    async with stream(response) as client:
        assert await client.read() == b"hi"
        assert seen == []
        await client.wait_closed()
        assert seen == ["background"]


async def test_an_app_that_ignores_the_disconnect_is_cancelled_with_a_clear_error() -> None:
    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await anyio.sleep_forever()

    clients: list[StreamClient] = []
    with pytest.raises(TimeoutError, match=r"shutdown_timeout=0\.01 seconds"):
        async with stream(app_of(run), shutdown_timeout=0.01) as client:
            clients.append(client)
    assert isinstance(clients[0].error, anyio.get_cancelled_exc_class())


async def test_an_app_that_swallows_its_cancellation_is_waited_for() -> None:
    seen: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(3):
            try:
                await anyio.sleep_forever()
            except anyio.get_cancelled_exc_class():
                seen.append("swallowed")

    with pytest.raises(TimeoutError, match="did not return"):
        async with stream(app_of(run), shutdown_timeout=0.01):
            pass
    assert seen == ["swallowed"] * 3


# --- exceptions and cancellation of the test


async def test_an_exception_of_the_block_comes_out_as_itself_after_a_disconnect() -> None:
    seen: list[str] = []
    error, cause = LookupError("test"), OSError("cause")
    with pytest.raises(LookupError) as caught:
        async with stream(ticker(seen)):
            raise error from cause
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is None
    assert seen == ["disconnect"]


async def test_an_exception_group_of_the_block_comes_out_as_itself() -> None:
    group = ExceptionGroup("the test's own", [LookupError()])
    with pytest.raises(ExceptionGroup) as caught:
        async with stream(ticker([])):
            raise group
    assert caught.value is group


async def test_a_cancelled_test_cancels_the_app() -> None:
    ended: list[type[BaseException]] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        try:
            await anyio.sleep_forever()
        except BaseException as exc:
            ended.append(type(exc))
            raise

    with anyio.CancelScope() as scope:
        async with stream(app_of(run)):
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == [anyio.get_cancelled_exc_class()]


async def test_a_test_can_be_cancelled_while_entering() -> None:
    with anyio.move_on_after(0.01) as scope:
        async with stream(app_of(lambda receive, send: until_disconnect(receive))):
            raise AssertionError("entered")
    assert scope.cancelled_caught


async def test_a_cancelled_read_loses_no_chunk() -> None:
    app = sends(START, body(b"a" * 100), body(b"b", more=False))
    async with stream(app, rate=1000) as client:
        with anyio.move_on_after(0.005) as scope:
            await anext(client)
        assert scope.cancelled_caught
        assert await client.read() == b"a" * 100 + b"b"


# --- backpressure


def counting(sent: list[int], size: int = 100) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(START)
        for number in range(10):
            await send(body(b"x" * size))
            sent.append(number)
        await send(END)

    return app


@pytest.mark.parametrize(("read_ahead", "ahead"), [(0, 1), (99, 1), (100, 2), (250, 3)])
async def test_send_waits_while_more_than_read_ahead_is_unread(read_ahead: int, ahead: int) -> None:
    sent: list[int] = []
    async with stream(counting(sent), read_ahead=read_ahead) as client:
        await settle()
        assert len(sent) == ahead
        await anext(client)
        await settle()
        assert len(sent) == ahead + 1
        assert client.bytes_received == (ahead + 1) * 100
        assert len(await client.read()) == 900
        assert client.complete


async def test_send_does_not_suspend_while_there_is_room() -> None:
    seen: list[str] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        for _ in range(5):
            await send(body(b"x"))
        seen.append("sent")

    async with stream(app_of(run), wait_for_start=False) as client:
        await client.started()
        assert seen == ["sent"]


async def test_send_suspends_each_time_on_request() -> None:
    stop = False

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        while not stop:
            await send(body(b"x"))

    async with stream(app_of(run), suspend_on_send=True) as client:
        assert await anext(client) == b"x"
        await client.disconnect()
        stop = True


async def test_send_never_suspends_after_a_silent_disconnect() -> None:
    ticks: list[int] = []

    async def run(receive: Receive, send: Send) -> None:
        await send(START)
        await until_disconnect(receive)
        before = len(ticks)
        for _ in range(1000):
            await send(body(b"x"))
        assert len(ticks) == before

    async def tick() -> None:
        while True:
            ticks.append(1)
            await checkpoint()

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        async with stream(app_of(run)) as client:
            await client.disconnect()
            await client.wait_closed()
            assert client.error is None
        group.cancel_scope.cancel()
    assert ticks


async def test_a_stalled_client_takes_nothing_until_it_resumes() -> None:
    sent: list[int] = []
    async with stream(counting(sent), read_ahead=150, wait_for_start=False) as client:
        client.stall()
        await settle()
        assert client.messages == []
        client.resume()
        await client.started()
        assert await anext(client) == b"x" * 100
        await settle()
        client.stall()
        before = len(sent)
        assert await anext(client) == b"x" * 100
        assert await anext(client) == b"x" * 100
        await settle()
        assert len(sent) == before
        client.resume()
        assert len(await client.read()) == 700


@SpecVersions
async def test_a_disconnect_frees_a_blocked_send(spec_version: str) -> None:
    async with stream(
        counting([]), spec_version=spec_version, wait_for_start=False, read_ahead=0
    ) as client:
        client.stall()
        await settle()
        assert not client.closed
        await client.disconnect()
        await client.wait_closed()
        assert isinstance(client.error, OSError) is (spec_version == "2.4")


async def test_a_client_with_a_rate_takes_that_many_bytes_a_second() -> None:
    sent: list[int] = []
    async with stream(counting(sent), rate=20_000, read_ahead=0) as client:
        times = [chunk.at async for chunk in client]
    assert times == sorted(times)
    assert len(times) == 10
    assert 0.05 <= times[-1] < 1


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
