"""The typed responses whose items are values, as an application and its clients see them."""

from __future__ import annotations

import csv
import gc
import io
import json
import math
import runpy
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from email import message_from_bytes
from pathlib import Path
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import orjson
import pytest
from fastapi import FastAPI, HTTPException, Request
from pydantic import BaseModel, Field

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    last_event_id,
)
from streamkit.encoders.csv import CSVEncoder
from streamkit.encoders.jsonarray import JSONArrayEncoder
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.encoders.multipart import MultipartEncoder
from streamkit.encoders.sse import SSEEncoder
from streamkit.encoders.text import TextEncoder
from streamkit.testing import FetchedResponse, check_encoder, fetch, stream, virtual_time
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

ASYNCIO, UVLOOP, TRIO = BACKENDS

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
PATIENCE = 10.0
SECRET = "postgres://user:password@db"


class Item(BaseModel):
    name: str
    price: Decimal = Field(alias="unitPrice")


@dataclass
class Point:
    x: int
    y: float


class Camera(MultipartStreamingResponse):
    part_media_type = "image/png"
    boundary = "frame"


# a class, an item of it, and the body that two such items make
FORMATS: list[Any] = [
    pytest.param(JSONLinesStreamingResponse, {"id": 1}, b'{"id":1}\n' * 2, id="jsonlines"),
    pytest.param(JSONArrayStreamingResponse, {"id": 1}, b'[{"id":1},{"id":1}]', id="jsonarray"),
    pytest.param(
        SSEStreamingResponse,
        ServerSentEvent("a", event="token"),
        b"event: token\ndata: a\n\n" * 2,
        id="sse",
    ),
    pytest.param(CSVStreamingResponse, {"id": 1}, b"id\r\n1\r\n1\r\n", id="csv"),
    pytest.param(
        Camera,
        b"png",
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame--\r\n",
        id="multipart",
    ),
]
every_format = pytest.mark.parametrize(("kind", "item", "body"), FORMATS)


def app_of(make: Callable[[], Any], response_class: Any = StreamingResponse) -> FastAPI:
    """An app whose only route returns what `make` gives, or yields from it."""
    app = FastAPI()

    @app.get("/", response_class=response_class)
    async def endpoint() -> Any:
        return make()

    return app


async def get(response: Any, **headers: str) -> FetchedResponse:
    """Call one response, as a server would."""
    with anyio.fail_after(PATIENCE):
        return await fetch(response, headers=headers)


# one response, each of the ways to make it


@every_format
async def test_a_sync_generator_streams_as_a_response_class(
    kind: Any, item: Any, body: bytes
) -> None:
    app = FastAPI()

    @app.get("/", response_class=kind)
    def items():  # type: ignore[no-untyped-def]
        yield item
        yield item

    response = await fetch(app)
    assert (response.status, response.body) == (200, body)
    assert response.headers["content-type"].startswith(kind.media_type)


@every_format
async def test_an_async_generator_streams_as_a_response_class(
    kind: Any, item: Any, body: bytes
) -> None:
    app = FastAPI()

    @app.get("/", response_class=kind)
    async def items():  # type: ignore[no-untyped-def]
        yield item
        await anyio.lowlevel.checkpoint()
        yield item

    response = await fetch(app)
    assert (response.status, response.body) == (200, body)


@every_format
async def test_a_list_is_returned_in_a_response(kind: Any, item: Any, body: bytes) -> None:
    response = await fetch(app_of(lambda: kind([item, item], 201, {"x-user": "me"})))

    assert (response.status, response.body) == (201, body)
    assert response.headers["x-user"] == "me"


async def test_a_filename_makes_a_download_of_it() -> None:
    response = await get(CSVStreamingResponse([{"a": 1}], filename="Öl.csv"))

    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert response.headers["content-disposition"].endswith("filename*=UTF-8''%C3%96l.csv")


@every_format
async def test_a_stream_without_items_is_whole(kind: Any, item: Any, body: bytes) -> None:
    response = await get(kind([]))

    assert response.status == 200
    assert response.complete
    assert response.body == {
        JSONArrayStreamingResponse: b"[]",
        Camera: b"\r\n--frame--\r\n",
    }.get(kind, b"")


# JSON


async def test_json_lines_take_all_that_pydantic_serialises() -> None:
    rows = [
        Item(name="tea", unitPrice=Decimal("2.50")),
        Point(1, 0.5),
        datetime(2026, 1, 2, tzinfo=UTC),
        uuid.UUID(int=7),
        None,
        "\u2028\x85",
        {"nan": math.nan, "inf": [math.inf]},
    ]
    response = await get(JSONLinesStreamingResponse(rows))

    assert response.headers["content-type"] == "application/jsonl"
    assert response.body.splitlines() == [
        b'{"name":"tea","unitPrice":"2.50"}',
        b'{"x":1,"y":0.5}',
        b'"2026-01-02T00:00:00Z"',
        b'"00000000-0000-0000-0000-000000000007"',
        b"null",
        b'"\\u2028\\u0085"',
        b'{"nan":null,"inf":[null]}',
    ]
    assert len(response.body.decode().splitlines()) == len(rows)


class WithOrjson(JSONLinesStreamingResponse[Any]):
    dumps = orjson.dumps


class WithJSON(JSONLinesStreamingResponse[Any]):
    dumps = json.dumps  # type: ignore[assignment]


def with_spaces(item: Any) -> str:
    return json.dumps(item, separators=(" , ", " : "))


class WithFunction(JSONLinesStreamingResponse[Any]):
    dumps = staticmethod(with_spaces)


@pytest.mark.parametrize(
    ("response", "line"),
    [
        (lambda items: JSONLinesStreamingResponse(items, dumps=orjson.dumps), b'{"a":[1]}\n'),
        (lambda items: JSONLinesStreamingResponse(items, dumps=json.dumps), b'{"a": [1]}\n'),
        (WithOrjson, b'{"a":[1]}\n'),
        (WithJSON, b'{"a": [1]}\n'),
        (WithFunction, b'{"a" : [1]}\n'),
        (lambda items: WithJSON(items, dumps=orjson.dumps), b'{"a":[1]}\n'),
        (lambda items: JSONArrayStreamingResponse(items, dumps=json.dumps), b'[{"a": [1]}]'),
        (lambda items: SSEStreamingResponse(items, dumps=json.dumps), b'data: {"a": [1]}\n\n'),
    ],
)
async def test_any_dumps_is_a_keyword_or_a_class_attribute(response: Any, line: bytes) -> None:
    assert (await get(response([{"a": [1]}]))).body == line


@pytest.mark.parametrize(
    "kind", [JSONLinesStreamingResponse, JSONArrayStreamingResponse, SSEStreamingResponse]
)
async def test_nan_is_refused_by_choice(kind: Any) -> None:
    class Strict(kind):  # type: ignore[misc]
        nan = "error"

    for response in (kind([math.nan], nan="error"), Strict([math.nan])):
        with pytest.raises(ValueError, match="JSON has no NaN"):
            await get(response)


@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, JSONArrayStreamingResponse])
async def test_a_class_of_items_validates_and_serialises_each(kind: Any) -> None:
    rows = [{"name": "tea", "unitPrice": "2.50", "more": 1}, Item(name="oil", unitPrice=Decimal(3))]
    response = await get(kind[Item](rows))

    expected = [b'{"name":"tea","unitPrice":"2.50"}', b'{"name":"oil","unitPrice":"3"}']
    assert response.body in (b"\n".join([*expected, b""]), b"[" + b",".join(expected) + b"]")
    with pytest.raises(ValueError, match="unitPrice"):
        await get(kind[Item]([{"name": "tea"}]))


def test_a_class_of_items_has_a_name_and_keeps_its_options() -> None:
    class Mine(JSONLinesStreamingResponse[Item]):
        nan = "error"

    assert JSONLinesStreamingResponse[Item].__name__ == "JSONLinesStreamingResponse[Item]"
    assert issubclass(Mine, JSONLinesStreamingResponse)
    assert Mine([]).nan == "error"


# what is no stream of items


@every_format
@pytest.mark.parametrize(
    "make",
    [
        lambda: b"bytes",
        lambda: bytearray(b"bytes"),
        lambda: "text",
        lambda: Path("rows.jsonl"),
        lambda: io.BytesIO(b"bytes"),
        lambda: io.StringIO("text"),
    ],
    ids=["bytes", "bytearray", "str", "path", "BytesIO", "StringIO"],
)
async def test_bytes_are_refused_where_items_are_expected(
    kind: Any, item: Any, body: bytes, make: Callable[[], Any]
) -> None:
    content = make()
    with pytest.raises(TypeError) as caught:
        kind(content)

    message = str(caught.value)
    assert message.startswith(f"{kind.__name__} streams items, and takes an iterable")
    assert f"got {type(content).__name__}; " in message
    assert "use StreamingResponse with media_type" in message


@pytest.mark.parametrize(
    ("content", "way_out"),
    [
        ({"a": 1}, "put them in a list"),
        (7, "for a fixed body use Response"),
        (lambda: None, "call it: <lambda>()"),
    ],
)
async def test_other_content_is_refused_with_a_way_out(content: Any, way_out: str) -> None:
    with pytest.raises(TypeError, match="JSONLinesStreamingResponse content must be") as caught:
        JSONLinesStreamingResponse(content)
    assert way_out in str(caught.value)


async def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(TypeError, match=r"CSVStreamingResponse\(\) got .* 'nan'.* columns, "):
        CSVStreamingResponse([], nan="null")  # type: ignore[call-arg]


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
    before = threading.active_count()
    async with stream(SSEStreamingResponse(silent())) as client:
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


async def test_a_content_type_of_the_user_wins() -> None:
    given = {"content-type": "multipart/x-mixed-replace;boundary=frame"}
    response = await get(Camera([b"png"], headers=given))

    assert response.headers["content-type"] == given["content-type"]


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


# the published check


class Event(BaseModel):
    id: int


ROWS: list[Any] = [{"id": 1, "name": "a"}, {"id": 2, "name": "ö\u2028"}, {"id": 3, "name": None}]
EVENTS: list[Any] = [
    "text",
    "two\nlines",
    "\ud800",
    b": raw\n\n",
    {"a": 1},
    Event(id=1),
    ServerSentEvent("a", event="token"),
    ServerSentEvent("a", id="7", retry=5, comment="c"),
    ServerSentEvent({"a": 1}, event="row"),
    ServerSentEvent(id=""),
]
PARTS: list[Any] = [b"a", bytearray(b"b"), MultipartPart(b"c", "text/html", {"X-A": "1"}), b"d"]


def read_lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def read_csv(body: bytes) -> list[Any]:
    rows = csv.DictReader(io.StringIO(body.decode(), newline=""))
    return [{"id": int(row["id"]), "name": row["name"] or None} for row in rows]


CHECKED: list[Any] = [
    (TextEncoder, ["a", b"b", memoryview(b"c")], None),
    (JSONLinesEncoder, ROWS, read_lines),
    (lambda: JSONLinesEncoder(orjson.dumps), ROWS, read_lines),
    (lambda: JSONLinesEncoder(adapter=dict[str, Any], nan="error"), ROWS, read_lines),
    (JSONArrayEncoder, ROWS, json.loads),
    (SSEEncoder, EVENTS, None),
    (CSVEncoder, ROWS, read_csv),
    (lambda: CSVEncoder(["id", "name"], excel=True, escape_formulas=True), ROWS, None),
    (lambda: MultipartEncoder("text/plain", b"b"), PARTS, None),
    (lambda: MultipartEncoder("text/plain", b"b", replace=True), PARTS, None),
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("make", "items", "read"), CHECKED)
def test_each_encoder_passes_the_check(
    make: Any, items: Any, read: Any, anyio_backend: str
) -> None:
    fresh = make()
    expected = b"".join([*map(fresh.encode, items), fresh.finish()])

    assert check_encoder(make, iter(items), read=read) == expected


class Good:
    """The encoder that the others break."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, item: Any) -> Any:
        self.count += 1
        return f"{self.count}:{item}\n".encode()

    def finish(self) -> Any:
        return b"end\n"

    def keep_alive(self) -> Any:
        return b"\n"

    def error(self, exc_type: str, detail: str | None) -> Any:
        return b"error\n"


class NoFinish:
    def encode(self, item: Any) -> bytes:
        return b""


class GivesText(Good):
    def encode(self, item: Any) -> Any:
        return f"{item}\n"


class ReusesItsBuffer(Good):
    def __init__(self) -> None:
        self.buffer = bytearray()

    def encode(self, item: Any) -> Any:
        self.buffer[:] = str(item).encode()
        return self.buffer


class IsAsync(Good):
    async def encode(self, item: Any) -> Any:
        return b""


class Raises(Good):
    def encode(self, item: Any) -> Any:
        return item.encode()


class FinishesWithNothing(Good):
    def finish(self) -> Any:
        return None


class CannotBeEmpty(Good):
    def encode(self, item: Any) -> Any:
        self.last = item
        return b"%d\n" % item

    def finish(self) -> Any:
        return b"%d\n" % self.last


class HoldsBack(Good):
    def __init__(self) -> None:
        self.held = b""

    def encode(self, item: Any) -> Any:
        self.held += b"%d\n" % item
        return b""

    def finish(self) -> Any:
        return self.held


class KeepsStateOnTheClass(Good):
    seen: ClassVar[list[Any]] = []

    def encode(self, item: Any) -> Any:
        self.seen.append(item)
        return b"%d\n" % len(self.seen)


class SharesBetweenStreams(Good):
    owner: ClassVar[Any] = None

    def encode(self, item: Any) -> Any:
        before, SharesBetweenStreams.owner = SharesBetweenStreams.owner, self
        return b"same\n" if before is self else b"other\n"


class CountsKeepAlives(Good):
    def keep_alive(self) -> Any:
        self.count += 1
        return b"\n"


class EmptyKeepAlive(Good):
    def keep_alive(self) -> Any:
        return b""


class DiesOfSurrogates(Good):
    def error(self, exc_type: str, detail: str | None) -> Any:
        return (detail or exc_type).encode()


class EmptyError(Good):
    def error(self, exc_type: str, detail: str | None) -> Any:
        return b""


class BoundToAThread(Good):
    def __init__(self) -> None:
        self.local = threading.local()
        self.local.count = 0

    def encode(self, item: Any) -> Any:
        self.local.count = getattr(self.local, "count", 10) + 1
        return b"%d\n" % self.local.count


class DiesOnAnotherThread(Good):
    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def encode(self, item: Any) -> Any:
        if threading.get_ident() != self.thread:
            raise RuntimeError("made on another thread")
        return b"%d\n" % item


class LooksAtTheClock(Good):
    def encode(self, item: Any) -> Any:
        return b"%d\n" % (time.time() > item)


class AsksForToday(Good):
    def encode(self, item: Any) -> Any:
        return b"late\n" if datetime.now(UTC).year > item else b"early\n"


class OpensAFile(Good):
    def encode(self, item: Any) -> Any:
        with open(__file__, "rb") as file:
            return file.readline()


class Prints(Good):
    def finish(self) -> Any:
        print("done")
        return b""


class BadFraming(Good):
    def keep_alive(self) -> Any:
        return b"0:?\n"


ONE = Good()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (NoFinish, "make() must give an encoder, and NoFinish has no finish()"),
        (GivesText, r"GivesText.encode(1) must return bytes, got str: '1\n'"),
        (ReusesItsBuffer, "ReusesItsBuffer.encode(1) must return bytes, got bytearray"),
        (IsAsync, "IsAsync.encode(1) must be a plain function, not async"),
        (Raises, "Raises.encode(1) must return bytes, and raised AttributeError"),
        (FinishesWithNothing, "FinishesWithNothing.finish() must return bytes, got NoneType"),
        (CannotBeEmpty, "CannotBeEmpty.finish() must return bytes, and raised AttributeError"),
        (HoldsBack, "encode() gave nothing for any of 2 items, and finish() 4 bytes"),
        (lambda: ONE, "make() must give a fresh encoder each time"),
        (KeepsStateOnTheClass, r"item 1 gave b'1\n' at first, and b'5\n' in another stream"),
        (SharesBetweenStreams, r"and b'other\n' with two streams at the same time"),
        (CountsKeepAlives, r"item 1 gave b'1:1\n' at first, and b'2:1\n' after a keep-alive"),
        (BoundToAThread, r"item 1 gave b'1\n' at first, and b'11\n' on another thread"),
        (
            DiesOnAnotherThread,
            "must return bytes, and raised RuntimeError('made on another thread')",
        ),
        (EmptyKeepAlive, "keep_alive() must give what readers ignore, and gave nothing"),
        (DiesOfSurrogates, "must return bytes, and raised UnicodeEncodeError"),
        (EmptyError, "error('ValueError', None) must give a frame, and gave nothing"),
        (LooksAtTheClock, "LooksAtTheClock must neither do I/O nor look at the clock, and called"),
        (AsksForToday, "and called datetime.now() in encode()"),
        (OpensAFile, "and called open() in encode()"),
        (Prints, "and called print() in finish()"),
        (BadFraming, "the body with keep-alives must be read as [1, 2], and was read as ["),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_check_catches_a_broken_encoder(make: Any, complaint: str, anyio_backend: str) -> None:
    def read(body: bytes) -> list[int]:
        lines = body.replace(b"end\n", b"").split()
        return [0 if line.endswith(b"?") else int(line.split(b":")[-1]) for line in lines]

    KeepsStateOnTheClass.seen.clear()
    with pytest.raises(AssertionError) as caught:
        check_encoder(make, [1, 2], read=read if make is BadFraming else None)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_the_check_of_an_encoder_leaves_the_garbage_collector_as_it_was(anyio_backend: str) -> None:
    gc.disable()
    try:
        check_encoder(Good, [1, 2])
        assert not gc.isenabled()
    finally:
        gc.enable()
    check_encoder(Good, [1, 2])
    assert gc.isenabled()


# the examples of the documentation


def example(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))["app"]


async def test_the_example_of_json_lines() -> None:
    response = await fetch(example("json_lines"), "/items")

    assert response.headers["content-type"] == "application/jsonl"
    assert read_lines(response.body)[0] == {"name": "Plumbus", "price": "19.99"}
    document = json.loads((await fetch(example("json_lines"), "/openapi.json")).body)
    content = document["paths"]["/items"]["get"]["responses"]["200"]["content"]
    assert content["application/jsonl"]["schema"]["items"] == {"$ref": "#/components/schemas/Item"}


async def test_the_example_of_server_sent_events() -> None:
    app = example("server_sent_events")
    with anyio.fail_after(PATIENCE):
        async with stream(app, "/ticks") as client:
            assert await anext(client) == b'id: 1\ndata: {"tick":1}\n\n'
        async with stream(app, "/ticks", headers={"last-event-id": "41"}) as client:
            assert await anext(client) == b'id: 42\ndata: {"tick":42}\n\n'


async def test_the_example_of_csv() -> None:
    response = await fetch(example("csv_export"), "/orders.csv")

    assert response.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert response.body.decode("utf-8-sig").splitlines()[:2] == [
        "id,customer,total",
        "1,Rick,19.99",
    ]


async def test_the_example_of_moving_pictures() -> None:
    app = example("moving_pictures")
    with anyio.fail_after(PATIENCE):
        async with stream(app, "/film") as client:
            assert client.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
            first = await anext(client)
        assert first.count(b"Content-Type: image/svg+xml\r\n\r\n") == 2
        page = await fetch(app, "/")
    assert b'<img src="/film"' in page.body
