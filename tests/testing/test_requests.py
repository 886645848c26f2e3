"""What the app gets: the scope of the request that was asked for, and its body."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from anyio.lowlevel import checkpoint
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit.testing import fetch, stream
from tests.testing.apps import END, START, app_of, body, settle, until_disconnect

pytestmark = pytest.mark.anyio


async def echo_scope(scope: Scope, receive: Receive, send: Send) -> None:
    shown = {key: value for key, value in scope.items() if key not in ("headers", "app")}
    shown["headers"] = [(n.decode(), v.decode()) for n, v in scope["headers"]]
    await send(START)
    await send(body(json.dumps(shown, default=repr).encode(), more=False))


async def scope_of(path: str = "/", **options: Any) -> dict[str, Any]:
    response = await fetch(echo_scope, path, **options)
    shown: dict[str, Any] = json.loads(response.body)
    return shown


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
