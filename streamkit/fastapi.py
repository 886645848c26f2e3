"""FastAPI's OpenAPI document, from what a route says anyway: `streamkit[fastapi]`."""

from __future__ import annotations

import inspect
from collections import abc
from collections.abc import Callable, Mapping
from functools import reduce
from operator import or_
from typing import Any, ClassVar, get_args, get_origin

from pydantic import TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError

from streamkit.openapi import Responses, members_of
from streamkit.responses import StreamingResponse
from streamkit.start import ResponseStart

try:
    from fastapi.routing import APIRoute
except ImportError as _missing:  # pragma: no cover - tests have it
    raise ImportError(
        "streamkit.fastapi needs fastapi: pip install 'streamkit[fastapi]'"
    ) from _missing

__all__ = ["StreamRoute"]

_STREAMS = {
    abc.AsyncGenerator,
    abc.AsyncIterable,
    abc.AsyncIterator,
    abc.Generator,
    abc.Iterable,
    abc.Iterator,
}


class StreamRoute(APIRoute):
    """A route whose document says what its stream sends; for the `route_class` of a router.

    A route with one of our classes as its `response_class` gets that class's `openapi()` as its
    `responses`, beside those it has. The items of JSON lines, JSON arrays and events are those of
    the endpoint's annotation, `-> AsyncIterator[Item]` or one of its like, unless the class says
    them, `JSONLinesStreamingResponse[Item]`. The annotation documents; only the class validates.
    All other routes stay as they are.

    `serves_source` (None: as the class has it): whether the content has an address, as `source=`
    of `openapi()`; set it in a subclass.

        router = APIRouter(route_class=StreamRoute)

        @router.get("/rows", response_class=JSONLinesStreamingResponse)
        async def rows() -> AsyncIterator[Row]: ...
    """

    serves_source: ClassVar[bool | None] = None

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        response_class: Any = None,
        responses: Mapping[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        if response_class is not None:
            options["response_class"] = response_class
        if isinstance(response_class, type) and issubclass(response_class, StreamingResponse):
            told = _described(response_class, endpoint, self.serves_source)
            if (status := options.get("status_code")) is not None:
                told[int(status)] = told.pop(200)
            for given, own in (responses or {}).items():
                status = int(given) if str(given).isdecimal() else given
                told[status] = _beside(told.get(status, {}), own)
            responses = told
        super().__init__(
            path, endpoint, responses=None if responses is None else {**responses}, **options
        )


def _beside(told: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """What a route says of a status, with what its class says of the same headers and types."""
    both = {**told, **own}
    if "headers" in own:
        both["headers"] = {**told.get("headers", {}), **own["headers"]}
    if "content" in own:
        known = told.get("content", {})
        both["content"] = {
            kind: {**known.get(kind, {}), **own["content"][kind]} for kind in own["content"]
        }
    return both


def _described(
    kind: type[StreamingResponse], endpoint: Callable[..., Any], source: bool | None
) -> Responses:
    item = _item_of(endpoint)
    if item is not Any and _has_schema(item):
        kind = kind._with_items(item)
    return kind.openapi() if source is None else kind.openapi(source=source)


def _item_of(endpoint: Callable[..., Any]) -> Any:
    """What an endpoint's annotation says that it yields; Any where it says nothing."""
    try:
        returned = inspect.signature(endpoint, eval_str=True).return_annotation
    except (NameError, TypeError, ValueError):
        # A name that is there for type checkers only.
        return Any
    if get_origin(returned) not in _STREAMS:
        return Any
    # A ResponseStart begins the response, and is no item.
    items = [each for each in members_of(get_args(returned)[0]) if each is not ResponseStart]
    return reduce(or_, items) if items else Any


def _has_schema(item: Any) -> bool:
    try:
        TypeAdapter(item).json_schema(mode="serialization")
    except (PydanticUserError, PydanticUndefinedAnnotation):
        return False
    return True
