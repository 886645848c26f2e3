"""The typed responses take items, and write JSON as the app has it; other content is refused."""

from __future__ import annotations

import io
import json
import math
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import orjson
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, Field

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
)
from streamkit.testing import fetch
from tests.formats.support import Camera, every_format, get

pytestmark = pytest.mark.anyio


class Item(BaseModel):
    name: str
    price: Decimal = Field(alias="unitPrice")


@dataclass
class Point:
    x: int
    y: float


def app_of(make: Callable[[], Any], response_class: Any = StreamingResponse) -> FastAPI:
    """An app whose only route returns what `make` gives, or yields from it."""
    app = FastAPI()

    @app.get("/", response_class=response_class)
    async def endpoint() -> Any:
        return make()

    return app


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
