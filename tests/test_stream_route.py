"""`StreamRoute`: a route's document from its response class and its endpoint's annotation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from streamkit import (
    CSVStreamingResponse,
    FileStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MP4StreamingResponse,
    PNGStreamingResponse,
    ResponseStart,
    ServerSentEvent,
    SSEStreamingResponse,
)
from streamkit.fastapi import StreamRoute
from streamkit.testing import fetch
from tests.test_openapi import document_of, resolve

if TYPE_CHECKING:
    from decimal import Decimal

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    """A document is made without waiting for anything."""
    return "asyncio"


class Part(BaseModel):
    name: str


class Item(BaseModel):
    price: float
    parts: list[Part] = []


class Unknown:
    """Nothing that pydantic knows."""


def iterator() -> Iterator[Item]:
    yield Item(price=1)


def generator() -> Generator[Item, None, None]:
    yield Item(price=1)


async def async_iterator() -> AsyncIterator[Item]:
    yield Item(price=1)


async def async_generator() -> AsyncGenerator[Item, None]:
    yield Item(price=1)


def with_start() -> Iterable[ResponseStart | Item]:
    yield ResponseStart(201)
    yield Item(price=1)


async def documented(
    endpoint: Any, response_class: Any, route: type[StreamRoute] = StreamRoute, **options: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document, and the responses of an app's one route."""
    app = FastAPI()
    app.router.route_class = route
    app.get("/", response_class=response_class, **options)(endpoint)
    document = await document_of(app)
    return document, document["paths"]["/"]["get"]["responses"]


# None: FastAPI has no model for an annotation it can't read.
async def items_of(endpoint: Any, response_class: Any) -> Any:
    _, responses = await documented(endpoint, response_class, response_model=None)
    (content,) = responses["200"]["content"].values()
    return content["schema"]["items"]


@pytest.mark.parametrize(
    "endpoint", [iterator, generator, async_iterator, async_generator, with_start]
)
@pytest.mark.parametrize("kind", [JSONLinesStreamingResponse, JSONArrayStreamingResponse])
async def test_the_items_are_those_of_the_annotation(endpoint: Any, kind: Any) -> None:
    document, responses = await documented(endpoint, kind)

    schema = responses["200"]["content"][kind.media_type]["schema"]
    assert schema["type"] == "array"
    item = resolve(document, schema["items"]["$ref"])
    assert set(item["properties"]) == {"price", "parts"}
    assert resolve(document, item["properties"]["parts"]["items"]["$ref"])["title"] == "Part"


async def test_the_data_of_events_is_that_of_the_annotation() -> None:
    document, responses = await documented(async_iterator, SSEStreamingResponse)

    event = responses["200"]["content"]["text/event-stream"]["schema"]["items"]
    data = event["properties"]["data"]
    assert resolve(document, data["contentSchema"]["$ref"])["title"] == "Item"


def mappings() -> Iterator[dict[str, str]]:
    yield {}


async def test_a_type_that_holds_text_is_no_text() -> None:
    event = await items_of(mappings, SSEStreamingResponse)
    assert event["properties"]["data"]["contentSchema"]["type"] == "object"


def events() -> Iterator[ServerSentEvent]:
    yield ServerSentEvent("a")


def events_or_items() -> Iterator[ServerSentEvent | Item]:
    yield ServerSentEvent("a")


def text() -> Iterator[str]:
    yield "a"


@pytest.mark.parametrize("endpoint", [events, events_or_items, text])
async def test_events_and_text_may_hold_any_data(endpoint: Any) -> None:
    event = await items_of(endpoint, SSEStreamingResponse)
    assert event["properties"]["data"] == {"type": "string"}


@pytest.mark.parametrize("module", ["fastapi.sse", "sse_starlette"])
async def test_events_of_other_libraries_are_no_data(module: str) -> None:
    event: Any = pytest.importorskip(module).ServerSentEvent

    def items() -> Any:
        yield Item(price=1)

    items.__annotations__["return"] = Iterator[Item | event]
    document, responses = await documented(items, SSEStreamingResponse, response_model=None)
    content = responses["200"]["content"]["text/event-stream"]
    # Where pydantic knows no schema, the item may be anything too.
    assert content["schema"]["items"]["properties"]["data"] == {"type": "string"}
    assert "ServerSentEvent" not in document.get("components", {}).get("schemas", {})


def unknown() -> Iterator[Unknown]:
    yield Unknown()


def for_checkers() -> Iterator[Decimal]:
    raise NotImplementedError


def anything() -> Iterator[Any]:
    yield 1


def bare():  # type: ignore[no-untyped-def]
    yield 1


@pytest.mark.parametrize("endpoint", [unknown, for_checkers, anything, bare])
async def test_where_the_annotation_says_nothing_an_item_can_be_anything(endpoint: Any) -> None:
    assert await items_of(endpoint, JSONLinesStreamingResponse) == {}


async def test_the_type_of_the_class_goes_before_the_annotation() -> None:
    items = await items_of(iterator, JSONLinesStreamingResponse[Part])
    assert items == {"$ref": "#/components/schemas/Part"}


async def test_a_subclass_keeps_what_it_says() -> None:
    class Rows(JSONLinesStreamingResponse):
        media_type = "application/x-ndjson"

    _, responses = await documented(iterator, Rows)
    content = responses["200"]["content"]
    assert content["application/x-ndjson"]["schema"]["items"]["$ref"].endswith("/Item")


async def test_bytes_and_sources_are_told_as_their_class_tells_them() -> None:
    for kind, statuses in (
        (PNGStreamingResponse, {"200"}),
        (CSVStreamingResponse, {"200"}),
        (FileStreamingResponse, {"200", "206", "304", "412", "416"}),
    ):
        told: Any = kind.openapi()
        _, responses = await documented(bare, kind)
        assert set(responses) == statuses
        assert responses["200"]["content"] == told[200]["content"]


async def test_a_subclass_of_the_route_tells_of_sources() -> None:
    class SourceRoute(StreamRoute):
        serves_source = True

    _, responses = await documented(bare, MP4StreamingResponse, SourceRoute)
    assert set(responses) == {"200", "206", "304", "412", "416"}


async def test_the_routes_own_entries_and_status_stay() -> None:
    _, responses = await documented(
        iterator,
        JSONLinesStreamingResponse,
        status_code=202,
        responses={404: {"description": "No such rows"}},
        response_description="The rows",
    )
    assert {status: each["description"] for status, each in responses.items()} == {
        "202": "The rows",
        "404": "No such rows",
    }
    assert "application/jsonl" in responses["202"]["content"]


@pytest.mark.parametrize("status", [200, "200"])
async def test_the_routes_own_words_stand_beside_the_schema(status: int | str) -> None:
    own = {"description": "The rows", "headers": {"X-Total": {"schema": {"type": "integer"}}}}
    _, plain = await documented(iterator, JSONLinesStreamingResponse)
    _, responses = await documented(iterator, JSONLinesStreamingResponse, responses={status: own})
    assert responses == {"200": {**plain["200"], **own}}


async def test_an_example_leaves_the_schema_as_it_is() -> None:
    own = {200: {"content": {"image/png": {"example": "a picture"}}}}
    _, responses = await documented(bare, PNGStreamingResponse, responses=own)
    schema = PNGStreamingResponse.openapi()[200]["content"]["image/png"]["schema"]
    assert responses["200"]["content"] == {"image/png": {"schema": schema, "example": "a picture"}}


async def test_a_header_stands_beside_those_of_a_source() -> None:
    total = {"X-Total": {"schema": {"type": "integer"}}}
    own = {200: {"headers": total, "content": {"video/mp4": {}}}}
    _, responses = await documented(bare, FileStreamingResponse, responses=own)
    told = FileStreamingResponse.openapi()[200]
    assert responses["200"]["headers"] == {**told["headers"], **total}
    # The type that the route names is the one there is.
    assert responses["200"]["content"] == {"video/mp4": {}}


async def test_ordinary_routes_stay_as_they_are() -> None:
    def ordinary() -> Item:
        return Item(price=1)

    def document_with(app: FastAPI) -> Any:
        app.get("/default")(ordinary)
        app.get("/named", response_class=JSONResponse)(ordinary)
        app.get("/streams")(iterator)
        return app.openapi()

    with_route = FastAPI()
    with_route.router.route_class = StreamRoute
    assert document_with(with_route) == document_with(FastAPI())


async def test_a_router_is_included_with_what_its_routes_say() -> None:
    router = APIRouter(route_class=StreamRoute, default_response_class=JSONLinesStreamingResponse)
    router.get("/rows")(iterator)
    app = FastAPI()
    app.include_router(router, prefix="/v1")

    responses = (await document_of(app))["paths"]["/v1/rows"]["get"]["responses"]
    items = responses["200"]["content"]["application/jsonl"]["schema"]["items"]
    assert items == {"$ref": "#/components/schemas/Item"}
    assert (await fetch(app, "/v1/rows")).body == b'{"price":1.0,"parts":[]}\n'


@pytest.mark.parametrize("value", [{"id": 1}, None, 1, True])
async def test_a_default_class_that_streams_tells_ordinary_routes_what_to_do(value: Any) -> None:
    app = FastAPI(default_response_class=JSONLinesStreamingResponse)
    app.get("/")(lambda: value)

    error = (await fetch(app, "/")).error
    assert isinstance(error, TypeError)
    assert "make it the response_class of those that stream" in str(error)
