"""What /openapi.json says of the responses, through FastAPI and by the specification."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from openapi_spec_validator import validate
from pydantic import BaseModel

import streamkit
from streamkit import (
    BytesSource,
    CSVStreamingResponse,
    FileStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MP4StreamingResponse,
    OctetStreamStreamingResponse,
    PNGStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
)
from streamkit.testing import fetch

pytestmark = pytest.mark.anyio

CLASSES: list[Any] = [
    getattr(streamkit, name)
    for name in streamkit.__all__
    if name.endswith("StreamingResponse") and name != "StreamingResponse"
]
TEXT = {"type": "string"}
LONG_AGO = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def anyio_backend() -> str:
    """A document is made without waiting for anything."""
    return "asyncio"


class Price(BaseModel):
    amount: float


class Item(BaseModel):
    name: str
    price: Price
    parts: list[Item] = []


def binary(media_type: str) -> dict[str, str]:
    return {"type": "string", "format": "binary", "contentMediaType": media_type}


def app_of(response_class: Any, responses: Any, **options: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/", response_class=response_class, responses=responses, **options)
    def endpoint() -> Any:
        yield

    return app


async def document_of(app: FastAPI) -> dict[str, Any]:
    """The document as clients get it: valid, and with nothing that leads nowhere."""
    document: dict[str, Any] = json.loads((await fetch(app, "/openapi.json")).body)
    validate(document)
    for reference in references(document):
        assert resolve(document, reference), reference
    return document


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
    if isinstance(value, list):
        for each in value:
            yield from references(each)


def resolve(document: Any, reference: str) -> Any:
    """What a reference leads to, from the root of the document (RFC 6901)."""
    start, *path = reference.split("/")
    assert start == "#"
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path]
    return reduce(lambda value, step: value[step], steps, document)


async def responses_of(app: FastAPI) -> dict[str, Any]:
    responses: dict[str, Any] = (await document_of(app))["paths"]["/"]["get"]["responses"]
    return responses


async def content_of(response_class: Any, responses: Any) -> dict[str, Any]:
    content: dict[str, Any] = (await responses_of(app_of(response_class, responses)))["200"][
        "content"
    ]
    return content


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("source", [False, True])
async def test_every_class_makes_a_valid_document(kind: Any, source: bool) -> None:
    responses = await responses_of(app_of(kind, kind.openapi(source=source)))
    assert set(responses) == ({"200", "206", "304", "412", "416"} if source else {"200"})
    assert set(responses["200"]["content"]) == {kind.media_type or "*/*"}


@pytest.mark.parametrize("kind", CLASSES)
async def test_the_class_alone_tells_its_type(kind: Any) -> None:
    responses = await responses_of(app_of(kind, None))
    assert set(responses["200"].get("content", ())) == {kind.media_type} - {None}


@pytest.mark.parametrize(
    ("media_type", "schema"),
    [
        ("image/png", binary("image/png")),
        ("video/mp4", binary("video/mp4")),
        ("application/zip", binary("application/zip")),
        ("application/wasm", binary("application/wasm")),
        ("multipart/x-mixed-replace", binary("multipart/x-mixed-replace")),
        ("text/plain", TEXT),
        ("text/csv", TEXT),
        ("image/svg+xml", TEXT),
        ("application/xml", TEXT),
        ("application/json-seq", TEXT),
        ("application/geo+json", TEXT),
        ("application/x-ndjson", TEXT),
    ],
)
async def test_bytes_are_told_from_text(media_type: str, schema: dict[str, str]) -> None:
    class Typed(StreamingResponse):
        pass

    Typed.media_type = media_type
    assert await content_of(Typed, Typed.openapi()) == {media_type: {"schema": schema}}


async def test_a_type_can_be_given_where_the_class_has_none() -> None:
    with pytest.raises(
        ValueError, match=r"is application/jsonl, .* 'text/x' would be a second body"
    ):
        JSONLinesStreamingResponse.openapi(media_type="text/x")
    known = StreamingResponse.openapi(media_type="audio/midi")
    assert await content_of(StreamingResponse, known) == {
        "audio/midi": {"schema": binary("audio/midi")}
    }
    unknown = await content_of(StreamingResponse, StreamingResponse.openapi())
    assert unknown == {"*/*": {"schema": binary("application/octet-stream")}}


@pytest.mark.parametrize(
    "kind", [JSONLinesStreamingResponse[Item], JSONArrayStreamingResponse[Item]]
)
async def test_the_items_are_models_among_the_components(kind: Any) -> None:
    document = await document_of(app_of(kind, kind.openapi()))
    content = document["paths"]["/"]["get"]["responses"]["200"]["content"]
    schema = content[kind.media_type]["schema"]
    assert schema["type"] == "array"
    item = resolve(document, schema["items"]["$ref"])
    assert set(item["properties"]) == {"name", "price", "parts"}
    assert resolve(document, item["properties"]["price"]["$ref"])["title"] == "Price"
    assert resolve(document, item["properties"]["parts"]["items"]["$ref"]) is item


async def test_an_event_has_the_json_of_an_item_as_its_data() -> None:
    kind = SSEStreamingResponse[Item]
    document = await document_of(app_of(kind, kind.openapi()))
    content = document["paths"]["/"]["get"]["responses"]["200"]["content"]
    event = content["text/event-stream"]["schema"]["items"]
    data = event["properties"]["data"]
    assert (data["type"], data["contentMediaType"]) == ("string", "application/json")
    assert resolve(document, data["contentSchema"]["$ref"])["title"] == "Item"
    assert set(event["properties"]) == {"data", "event", "id", "retry"}


async def test_one_model_is_the_same_in_all_formats_of_an_app() -> None:
    app = FastAPI()
    kinds = [kind[Item] for kind in (SSEStreamingResponse, JSONLinesStreamingResponse)]
    for kind in [*kinds, *kinds[::-1]]:
        path = f"/{len(app.routes)}"
        app.get(path, response_class=kind, responses=kind.openapi())(lambda: None)
    document = await document_of(app)
    assert set(document["components"]["schemas"]) == {"Item", "Price"}
    items = [
        next(iter(path["get"]["responses"]["200"]["content"].values()))["schema"]["items"]
        for path in document["paths"].values()
    ]
    assert items[1] == items[2] == {"$ref": "#/components/schemas/Item"}
    assert items[0] == items[3]


@pytest.mark.parametrize("item", [dict[str, int], int | None, list[Item], tuple[Price, str]])
@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, SSEStreamingResponse])
async def test_items_may_be_of_any_type_that_pydantic_knows(kind: Any, item: Any) -> None:
    content = await content_of(kind[item], kind[item].openapi())
    assert content[kind.media_type]["schema"]["items"]


@pytest.mark.parametrize(
    ("kind", "items"),
    [
        (JSONLinesStreamingResponse, {}),
        (JSONArrayStreamingResponse, {}),
        (
            SSEStreamingResponse,
            {
                "type": "object",
                "properties": {
                    "data": TEXT,
                    "event": TEXT,
                    "id": TEXT,
                    "retry": {"type": "integer", "minimum": 0},
                },
            },
        ),
    ],
)
async def test_without_a_type_an_item_can_be_anything(kind: Any, items: Any) -> None:
    schema = (await content_of(kind, kind.openapi()))[kind.media_type]["schema"]
    assert schema["items"] == items


async def test_a_source_tells_what_it_may_answer() -> None:
    kind = MP4StreamingResponse
    responses = await responses_of(app_of(kind, kind.openapi(source=True)))
    assert responses["200"]["content"] == {"video/mp4": {"schema": binary("video/mp4")}}
    assert set(responses["206"]["content"]) == {"video/mp4", "multipart/byteranges"}
    assert [status for status in responses if "content" in responses[status]] == ["200", "206"]


@pytest.mark.parametrize(
    ("status", "request_headers"),
    [
        (200, {}),
        (206, {"range": "bytes=1-2"}),
        (206, {"range": "bytes=0-0,2-3"}),
        (304, {"if-none-match": '"v1"'}),
        (412, {"if-match": '"v2"'}),
        (416, {"range": "bytes=9-"}),
    ],
)
async def test_what_is_told_of_a_source_is_what_it_sends(
    status: int, request_headers: dict[str, str]
) -> None:
    app, kind = FastAPI(), OctetStreamStreamingResponse

    @app.get("/", response_class=kind, responses=kind.openapi(source=True))
    def content() -> StreamingResponse:
        return kind(BytesSource(b"1234"), etag='"v1"', last_modified=LONG_AGO)

    told = (await responses_of(app))[str(status)]
    response = await fetch(app, "/", headers=request_headers)
    assert response.status == status
    media_type = response.headers.get("content-type", "").partition(";")[0]
    assert media_type in told.get("content", {"": None})
    known = {"accept-ranges", "etag", "last-modified", "content-range"}
    sent = known & set(response.headers)
    assert sent - {"etag"} <= {name.lower() for name in told.get("headers", {})}


async def test_a_file_is_a_source_unless_said_otherwise() -> None:
    file = FileStreamingResponse
    assert set(file.openapi(media_type="video/mp4")) == {200, 206, 304, 412, 416}
    assert set(file.openapi(source=False)) == {200}


async def test_the_routes_own_description_and_entries_stay() -> None:
    responses = {**PNGStreamingResponse.openapi(), 404: {"description": "No such picture"}}
    app = app_of(PNGStreamingResponse, responses, response_description="A picture")
    told = await responses_of(app)
    assert told["200"]["description"] == "A picture"
    assert told["404"]["description"] == "No such picture"


async def test_what_is_given_belongs_to_the_caller() -> None:
    first = MP4StreamingResponse.openapi(source=True)
    first[200]["content"].clear()
    first[206]["headers"].clear()
    second = MP4StreamingResponse.openapi(source=True)
    assert second[200]["content"]
    assert second[206]["headers"]


async def test_a_router_and_an_app_may_have_it_for_all_of_their_routes() -> None:
    router = APIRouter(responses=CSVStreamingResponse.openapi())
    router.get("/rows", response_class=CSVStreamingResponse)(lambda: None)
    app = FastAPI(responses={404: {"description": "Not here"}})
    app.include_router(router, prefix="/v1")
    responses = (await document_of(app))["paths"]["/v1/rows"]["get"]["responses"]
    assert set(responses) == {"200", "404"}
    assert responses["200"]["content"] == {"text/csv": {"schema": TEXT}}


async def test_without_the_class_the_items_are_told_of_nevertheless() -> None:
    app = FastAPI()
    app.get("/", responses=JSONLinesStreamingResponse[Item].openapi())(lambda: None)
    content = (await responses_of(app))["200"]["content"]
    assert content["application/jsonl"]["schema"] == {"type": "array"}
    # FastAPI's own claim about a route without a class.
    assert "application/json" in content


async def test_the_document_is_valid_as_openapi_3_2_as_well() -> None:
    kind = SSEStreamingResponse[Item]
    app = app_of(kind, kind.openapi())
    app.openapi_version = "3.2.0"
    assert (await document_of(app))["openapi"] == "3.2.0"


async def test_the_example_of_openapi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = Path(__file__).parents[1] / "docs" / "examples"
    app = runpy.run_path(str(examples / "openapi.py"))["app"]

    paths = (await document_of(app))["paths"]
    told = {path: paths[path]["get"]["responses"] for path in ("/readings", "/logo", "/film")}
    readings = told["/readings"]["200"]["content"]["application/jsonl"]["schema"]
    assert readings["items"] == {"$ref": "#/components/schemas/Reading"}
    assert told["/logo"]["200"]["content"]["image/png"]["schema"] == binary("image/png")
    assert set(told["/film"]) == {"200", "206", "304", "404", "412", "416"}
    assert (await fetch(app, "/film")).status == 404


def test_the_demo_says_what_its_routes_answer() -> None:
    from streamkit.demo.app import app

    document = app.openapi()
    validate(document)
    film = document["paths"]["/film.mp4"]["get"]["responses"]
    assert {"200", "206", "304", "412", "416"} <= set(film)
    assert film["206"]["content"].keys() >= {"video/mp4"}
    tokens = document["paths"]["/tokens"]["get"]["responses"]
    assert "206" not in tokens
