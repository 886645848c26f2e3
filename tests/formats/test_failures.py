"""A typed response that fails or is left: a status, a cut or an error frame, and a close."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from fastapi import FastAPI, HTTPException

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    SSEStreamingResponse,
    StreamOutcome,
)
from streamkit.testing import fetch, stream
from tests.formats.support import PATIENCE, SECRET, every_format, get

pytestmark = pytest.mark.anyio


# errors


@every_format
async def test_an_error_before_the_first_item_is_a_status(
    kind: Any, item: Any, body: bytes
) -> None:
    app = FastAPI()

    @app.get("/", response_class=kind)
    async def items():  # type: ignore[no-untyped-def]
        raise HTTPException(404, "no such table")
        yield item

    response = await fetch(app)
    assert (response.status, response.body) == (404, b'{"detail":"no such table"}')


async def broken(item: Any, error: BaseException) -> AsyncIterator[Any]:
    yield item
    await anyio.sleep(0.005)
    raise error


@every_format
async def test_an_error_midway_cuts_the_body(kind: Any, item: Any, body: bytes) -> None:
    outcomes: list[StreamOutcome] = []
    response = await get(kind(broken(item, OSError(SECRET)), on_close=outcomes.append))

    assert response.status == 200
    assert not response.complete
    assert isinstance(response.error, OSError)
    assert body.startswith(response.body)
    assert response.body != body
    assert [outcome.reason for outcome in outcomes] == ["error"]
    assert SECRET.encode() not in response.body


@every_format
async def test_an_item_that_cannot_be_encoded_cuts_the_body(
    kind: Any, item: Any, body: bytes
) -> None:
    # A comment that keeps a stream alive would come before what is looked at.
    response = await get(kind([item, object()], keep_alive=None))

    assert not response.complete
    assert isinstance(response.error, TypeError)
    assert body.startswith(response.body)


async def test_an_array_cut_midway_is_no_json() -> None:
    response = await get(JSONArrayStreamingResponse(broken({"a": 1}, OSError())))

    assert response.body == b'[{"a":1}'
    with pytest.raises(json.JSONDecodeError):
        json.loads(response.body)


def internal(error: Exception) -> str | None:
    return f"ask for {error.args[0]}" if isinstance(error, KeyError) else None


def told(kind: str, detail: str) -> dict[str, str]:
    return {"type": kind, "message": detail, "detail": detail}


INTERNAL = told("InternalServerError", "Internal Server Error")
FRAMES: list[Any] = [
    ({}, OSError(SECRET), INTERNAL),
    ({}, HTTPException(403, "not yours"), told("HTTPException", "not yours")),
    ({"error_detail": internal}, KeyError("7"), told("KeyError", "ask for 7")),
    ({"error_detail": internal}, OSError(SECRET), INTERNAL),
]


@pytest.mark.parametrize(("options", "error", "expected"), FRAMES)
@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, SSEStreamingResponse])
async def test_an_error_frame_tells_what_the_app_lets_out(
    kind: Any, options: Any, error: Exception, expected: Any
) -> None:
    response = await get(kind(broken("item", error), error_frames=True, **options))

    assert not response.complete
    assert response.error is error
    assert SECRET.encode() not in response.body
    assert b"Traceback" not in response.body
    if kind is SSEStreamingResponse:
        first, last, _ = response.body.split(b"\n\n")
        assert first == b"data: item"
        assert last.startswith(b"event: error\ndata: ")
        frame = last.removeprefix(b"event: error\ndata: ")
    else:
        first, frame = response.body.splitlines()
        assert first == b'"item"'
    assert json.loads(frame) == {"error": expected}


async def test_error_frames_are_class_attributes_too() -> None:
    class Rows(JSONLinesStreamingResponse[Any]):
        error_frames = True
        error_detail = staticmethod(internal)

    response = await get(Rows(broken(1, KeyError("7"))))
    assert response.body.startswith(b'1\n{"error":{"type":"KeyError",')
    assert response.body.endswith(b'"detail":"ask for 7"}}\n')


async def test_an_error_before_the_first_item_is_a_status_and_no_frame() -> None:
    async def items() -> AsyncIterator[Any]:
        raise OSError(SECRET)
        yield

    with pytest.raises(OSError, match=SECRET):
        await get(JSONLinesStreamingResponse(items(), error_frames=True))


@pytest.mark.parametrize(
    "kind", [JSONArrayStreamingResponse, CSVStreamingResponse, MultipartStreamingResponse]
)
def test_error_frames_need_a_format_with_room_for_them(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"error_frames=True needs an encoder with error\(\)"):
        kind([], error_frames=True)


@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, CSVStreamingResponse])
def test_keep_alives_need_a_format_with_room_for_them(kind: Any) -> None:
    with pytest.raises(ValueError, match=r"keep_alive=1.0 needs an encoder with keep_alive\(\)"):
        kind([], keep_alive=1.0)


# closing


class Ledger:
    """Items without end, and how often their generator was closed."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.closed = 0

    def sync(self) -> Iterator[Any]:
        try:
            while True:
                yield self.item
                time.sleep(0.001)
        finally:
            self.closed += 1

    async def asynchronous(self) -> AsyncIterator[Any]:
        try:
            while True:
                yield self.item
                await anyio.sleep(0.001)
        finally:
            await anyio.lowlevel.checkpoint()
            self.closed += 1


@every_format
@pytest.mark.parametrize("flavour", ["sync", "asynchronous"])
async def test_the_items_are_closed_when_the_client_leaves(
    kind: Any, item: Any, body: bytes, flavour: str
) -> None:
    ledger = Ledger(item)
    outcomes: list[tuple[str, int]] = []

    def on_close(outcome: StreamOutcome) -> None:
        outcomes.append((outcome.reason, ledger.closed))

    with anyio.fail_after(PATIENCE):
        async with stream(kind(getattr(ledger, flavour)(), on_close=on_close)) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()

    assert ledger.closed == 1
    assert outcomes == [("disconnect", 1)]


@every_format
async def test_on_close_hears_of_a_whole_body(kind: Any, item: Any, body: bytes) -> None:
    outcomes: list[StreamOutcome] = []

    class Told(kind):  # type: ignore[misc]
        async def on_close(self, outcome: StreamOutcome) -> None:
            outcomes.append(outcome)

    await get(Told([item, item]))
    assert [(outcome.reason, outcome.bytes_sent) for outcome in outcomes] == [
        ("complete", len(body))
    ]


@every_format
async def test_head_goes_no_further_than_the_first_item(kind: Any, item: Any, body: bytes) -> None:
    ledger = Ledger(item)
    with anyio.fail_after(PATIENCE):
        response = await fetch(kind(ledger.sync()), method="HEAD")

    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-type"].startswith(kind.media_type)
    assert ledger.closed == 1
