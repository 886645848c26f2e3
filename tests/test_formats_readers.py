"""What other people's readers make of our formats, over a real server."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from email import policy
from email.parser import BytesParser
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartPart,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
)

from .server import serving

ROWS = 3000
# The package `multipart` takes no part without it.
HEADERS = {"Content-Disposition": 'form-data; name="part"'}
NAMES = ["", "plain", 'quote " and, comma', "two\r\nlines", "ö\u2028\x85🐢", "NaN", " spaces "]


def table() -> list[dict[str, Any]]:
    return [
        {
            "id": number,
            "name": NAMES[number % len(NAMES)],
            "price": number / 8,
            "active": number % 3 == 0,
        }
        for number in range(ROWS)
    ]


# The server: each route streams back the items it was sent, or the table.

app = FastAPI()


@app.post("/jsonlines")
async def jsonlines(request: Request) -> Any:
    return JSONLinesStreamingResponse(await request.json())


@app.post("/jsonarray")
async def jsonarray(request: Request) -> Any:
    return JSONArrayStreamingResponse(await request.json())


@app.post("/events")
async def events(request: Request) -> Any:
    items = [ServerSentEvent(**fields) for fields in await request.json()]
    return SSEStreamingResponse(items)


@app.post("/csv")
async def csv_rows(request: Request) -> Any:
    return CSVStreamingResponse(await request.json())


@app.post("/parts")
async def parts(request: Request) -> Any:
    items = [
        MultipartPart(
            part["body"].encode("latin-1"), part["type"], dict(HEADERS, **{"X-Note": part["note"]})
        )
        for part in await request.json()
    ]
    return MultipartStreamingResponse(items, media_type="multipart/mixed")


@app.get("/table.jsonl", response_class=JSONLinesStreamingResponse)
def table_jsonl() -> Iterator[Any]:
    yield from table()


@app.get("/table.csv", response_class=CSVStreamingResponse)
def table_csv() -> Iterator[Any]:
    yield from table()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with (
        serving(["uvicorn", "--log-level", "warning", "--port", "{port}", f"{__name__}:app"]) as at,
        httpx.Client(base_url=f"http://127.0.0.1:{at.port}", timeout=20) as connected,
    ):
        yield connected


# No lone surrogates: they can't be sent to the server.
text = st.text(st.characters(exclude_categories=["Cs"]))
line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


def finite(value: Any) -> Any:
    """What JSON makes of a value: it has no infinities."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def sent(items: Any) -> bytes:
    return json.dumps(items).encode()


# JSON


@given(st.lists(values, max_size=5))
def test_httpx_iter_lines_gives_every_item(client: httpx.Client, items: list[Any]) -> None:
    with client.stream("POST", "/jsonlines", content=sent(items)) as response:
        found = [json.loads(each) for each in response.iter_lines()]

    assert found == finite(items)


@given(st.lists(values, max_size=5))
def test_json_reads_the_array(client: httpx.Client, items: list[Any]) -> None:
    assert client.post("/jsonarray", content=sent(items)).json() == finite(items)


def test_pandas_reads_json_lines(client: httpx.Client) -> None:
    pandas = pytest.importorskip("pandas")
    body = io.BytesIO(client.get("/table.jsonl").content)

    frame = pandas.read_json(body, lines=True)

    assert frame.to_dict("records") == table()


def test_pandas_reads_json_lines_in_chunks(client: httpx.Client) -> None:
    pandas = pytest.importorskip("pandas")
    body = io.StringIO(client.get("/table.jsonl").text)

    with pandas.read_json(body, lines=True, chunksize=700) as frames:
        found = [row for frame in frames for row in frame.to_dict("records")]

    assert found == table()


def test_pyarrow_reads_json_lines(client: httpx.Client) -> None:
    arrow = pytest.importorskip("pyarrow.json")
    body = io.BytesIO(client.get("/table.jsonl").content)

    assert arrow.read_json(body).to_pylist() == table()


def test_polars_reads_json_lines(client: httpx.Client) -> None:
    polars = pytest.importorskip("polars")
    body = io.BytesIO(client.get("/table.jsonl").content)

    assert polars.read_ndjson(body).to_dicts() == table()


# server-sent events

events_sent = st.fixed_dictionaries(
    {"data": text | values.filter(lambda value: value is not None)},
    optional={
        "event": line.filter(bool),
        "id": line,
        "retry": st.integers(0, 10**9),
        "comment": text,
    },
)


@given(st.lists(events_sent, max_size=5))
def test_httpx_sse_gives_every_event(client: httpx.Client, items: list[dict[str, Any]]) -> None:
    httpx_sse = pytest.importorskip("httpx_sse")
    with httpx_sse.connect_sse(client, "POST", "/events", content=sent(items)) as source:
        found = list(source.iter_sse())

    last_id = ""
    for item, event in zip(items, found, strict=True):
        last_id = item.get("id", last_id)
        assert (event.event, event.id) == (item.get("event", "message"), last_id)
        assert event.retry == item.get("retry")
        data = item["data"]
        if isinstance(data, str):
            assert event.data == data.replace("\r\n", "\n").replace("\r", "\n")
        else:
            assert json.loads(event.data) == finite(data)


# CSV


@given(st.lists(st.fixed_dictionaries({"a": text, "b c": text}), min_size=1, max_size=5))
def test_the_standard_library_reads_every_cell(
    client: httpx.Client, items: list[dict[str, str]]
) -> None:
    body = client.post("/csv", content=sent(items)).content.decode()

    assert list(csv.DictReader(io.StringIO(body, newline=""))) == items


def test_pandas_reads_csv(client: httpx.Client) -> None:
    pandas = pytest.importorskip("pandas")
    body = io.BytesIO(client.get("/table.csv").content)

    frame = pandas.read_csv(body, keep_default_na=False)

    assert frame.to_dict("records") == table()


def test_polars_reads_csv(client: httpx.Client) -> None:
    polars = pytest.importorskip("polars")
    body = io.BytesIO(client.get("/table.csv").content)

    # Its own booleans are lower case, and its empty strings null.
    frame = polars.read_csv(body, schema_overrides={"active": polars.String})
    frame = frame.with_columns(polars.col("name").fill_null(""))

    found = [{**row, "active": row["active"] == "True"} for row in frame.to_dicts()]
    assert found == table()


def test_pyarrow_reads_csv(client: httpx.Client) -> None:
    arrow = pytest.importorskip("pyarrow.csv")
    body = io.BytesIO(client.get("/table.csv").content)

    parsed = arrow.read_csv(body, parse_options=arrow.ParseOptions(newlines_in_values=True))

    assert parsed.to_pylist() == table()


# multipart

part_sent = st.fixed_dictionaries(
    {
        "body": st.binary().map(lambda body: body.decode("latin-1")),
        "type": st.sampled_from(["application/octet-stream", "image/png", "text/x-log"]),
        "note": st.text("abc \t;=", max_size=10).map(str.strip),
    }
)


@given(st.lists(part_sent, min_size=1, max_size=4))
def test_email_reads_every_part(client: httpx.Client, items: list[dict[str, str]]) -> None:
    response = client.post("/parts", content=sent(items))
    head = f"Content-Type: {response.headers['content-type']}\r\n\r\n".encode()

    message = BytesParser(policy=policy.HTTP).parsebytes(head + response.content)

    assert len(message.get_payload()) == len(items)
    for part, item in zip(message.iter_parts(), items, strict=True):
        assert part.get_content_type() == item["type"]
        assert part["Content-Length"] == str(len(item["body"]))
        assert part["X-Note"] == item["note"]


@given(st.lists(part_sent, min_size=1, max_size=4), st.integers(1, 9))
def test_the_multipart_package_reads_every_byte(
    client: httpx.Client, items: list[dict[str, str]], step: int
) -> None:
    multipart = pytest.importorskip("multipart", minversion="1.0")
    response = client.post("/parts", content=sent(items))
    _, _, boundary = response.headers["content-type"].partition("boundary=")

    found: list[tuple[str, bytes]] = []
    with multipart.PushMultipartParser(boundary) as parser:
        for start in range(0, len(response.content), step):
            for event in parser.parse(response.content[start : start + step]):
                if isinstance(event, multipart.MultipartSegment):
                    found.append((event.content_type, b""))
                elif event is not None:
                    found[-1] = (found[-1][0], found[-1][1] + bytes(event))

    assert found == [(item["type"], item["body"].encode("latin-1")) for item in items]
