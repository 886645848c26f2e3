"""What a response sends, in the words of OpenAPI 3.1: the mapping that `responses=` takes."""

from __future__ import annotations

from dataclasses import dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core.core_schema import CoreSchema, chain_schema

from streamkit.http.mediatypes import is_textual

__all__ = ["EventSchema", "Responses", "describe", "members_of"]

Responses = dict[int | str, dict[str, Any]]
"""Response Objects by status code, as FastAPI's `responses=` takes them."""

_ANY_TYPE = "*/*"
_VALIDATORS = {
    "ETag": "Names this version of the content; send it back in If-None-Match or If-Range.",
    "Last-Modified": "When the content was last changed.",
}
_ACCEPT_RANGES = {"Accept-Ranges": "`bytes`, where a part of the content can be asked for."}


def describe(own: str | None, given: str | None, *, source: bool, owner: str) -> Responses:
    """Describe a stream, or a source with all that it may answer (RFC 9110 §13, §14, §15).

    Raises `ValueError` for another media type than the one that the class, `owner`, has.
    """
    media_type = own or given
    if given not in (None, media_type):
        raise ValueError(
            f"{owner} is {own}, under which FastAPI documents it, and {given!r} would be a second "
            f"body; pass a subclass with that media_type as response_class, and its openapi()"
        )
    body = {"schema": _schema(media_type)}
    content = {media_type or _ANY_TYPE: body}
    # The description of a 200 is the route's own.
    if not source:
        return {200: {"content": content}}
    place = {"Content-Range": "Which bytes these are, of how many."}
    size = {"Content-Range": "How many bytes there are, as in `bytes */1234`."}
    return {
        200: {"headers": _headers(_ACCEPT_RANGES, _VALIDATORS), "content": content},
        206: {
            "description": "The part of the content that Range asked for",
            "headers": _headers(place, _ACCEPT_RANGES, _VALIDATORS),
            "content": {**content, "multipart/byteranges": {"schema": _schema(None)}},
        },
        304: {
            "description": "The content is still the one the client has",
            "headers": _headers(_VALIDATORS),
        },
        412: {"description": "The content is not the one that If-Match or its like asked for"},
        416: {
            "description": "The content has none of the bytes that Range asked for",
            "headers": _headers(size, _ACCEPT_RANGES),
        },
    }


def members_of(item: Any) -> tuple[Any, ...]:
    """The types of a union, or the one that a type is.

    >>> members_of(int | str), members_of(list[int])
    ((<class 'int'>, <class 'str'>), (list[int],))
    """
    return get_args(item) if get_origin(item) in (Union, UnionType) else (item,)


def _headers(*told: dict[str, str]) -> dict[str, Any]:
    return {
        name: {"description": text, "schema": {"type": "string"}}
        for headers in told
        for name, text in headers.items()
    }


def _schema(media_type: str | None) -> dict[str, str]:
    if is_textual(media_type):
        return {"type": "string"}
    # OpenAPI 3.1 says it by `contentMediaType`. `format` is of 3.0, and kept in its registry for
    # the many programs that make a blob of nothing else.
    content = {"contentMediaType": media_type or "application/octet-stream"}
    return {"type": "string", "format": "binary", **content}


@dataclass(frozen=True)
class EventSchema:
    """Annotates the type of an event's data: its schema becomes that of the whole event.

    `typed`: the data is JSON of that type, and not just text.
    """

    typed: bool

    def __get_pydantic_core_schema__(self, item: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        # A separate schema: a change of the item's own would show wherever it is used.
        return chain_schema([handler(item)])

    def __get_pydantic_json_schema__(
        self, item: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        text = {"type": "string"}
        json = {"contentMediaType": "application/json", "contentSchema": handler(item)}
        properties = {
            "data": {**text, **json} if self.typed else text,
            "event": text,
            "id": text,
            "retry": {"type": "integer", "minimum": 0},
        }
        required = {"required": ["data"]} if self.typed else {}
        return {"type": "object", "properties": properties, **required}
