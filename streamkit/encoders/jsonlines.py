"""JSON lines, one JSON text a line; and the serialiser that every JSON format shares."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

__all__ = ["Dumps", "JSONLinesEncoder", "error_object", "json_serialiser"]

Dumps = Callable[[Any], bytes | str]
"""`orjson.dumps`, `msgspec.json.encode`, `json.dumps` and the like."""

# What some readers take for the end of a line, though JSON allows it inside a string.
_LINE_BREAKS = {
    b"\xc2\x85": b"\\u0085",
    b"\xe2\x80\xa8": b"\\u2028",
    b"\xe2\x80\xa9": b"\\u2029",
}
_STRING_OR_CONSTANT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:NaN|Infinity)')


def json_serialiser(
    dumps: Dumps | None = None, *, adapter: object = None, nan: Literal["null", "error"] = "null"
) -> Callable[[object], bytes]:
    """A function that gives the JSON text (RFC 8259) of an item as one line of UTF-8.

    `dumps` replaces `pydantic_core.to_json`; `adapter`, a type or a `TypeAdapter`, validates each
    item first (reading attributes too, by alias, as FastAPI does). U+0085, U+2028 and U+2029 are
    escaped, and so is a lone surrogate. NaN and infinities become `null`, or raise `ValueError`
    with `nan="error"`; a `dumps` that itself writes `null` for them, as orjson's and msgspec's do,
    leaves nothing to find.

    The function raises `TypeError` for an item of a type that JSON cannot hold, `ValueError` for
    one whose value it cannot, and pydantic's `ValidationError` for what `adapter` refuses.

    >>> json_serialiser()({"price": float("nan")})
    b'{"price":null}'
    """
    if nan not in ("null", "error"):
        raise ValueError(f"nan must be 'null' or 'error', got {nan!r}")
    prepare, plain, write = _pydantic_steps(adapter)
    if dumps is not None:
        write = dumps if adapter is None else lambda value: dumps(plain(value))
    strict = nan == "error"

    def serialise(item: object) -> bytes:
        try:
            value = item if prepare is None else prepare(item)
            try:
                line = write(value)
            except (TypeError, ValueError) as exc:
                if "surrogates not allowed" not in str(exc):
                    raise
                line = _escaped(value, plain)
            if type(line) is not bytes:
                line = _utf8(line)
            # N, I and the line feed are looked for as single bytes: much faster than
            # substrings, and most lines of numbers and lower case have none of them.
            if strict or not (
                line.isascii() and 78 not in line and 73 not in line and 10 not in line
            ):
                line = _cleaned(line, strict)
                if strict and b"null" in line:
                    json.dumps(plain(value), allow_nan=False)
        except ValidationError:
            raise
        except (TypeError, ValueError) as exc:
            raise _refusal(item, exc) from exc
        return line

    return serialise


Step = Callable[[Any], Any]


def _pydantic_steps(adapter: object) -> tuple[Step | None, Step, Dumps]:
    """How to validate an item, if at all, to make it plain Python values, and to make it JSON."""
    if adapter is None:
        # Its `inf_nan_mode="null"` costs a third more an item than mending the few such lines.
        return None, partial(to_jsonable_python, inf_nan_mode="constants"), to_json
    typed = adapter if isinstance(adapter, TypeAdapter) else TypeAdapter[Any](adapter)
    return (
        partial(typed.validate_python, from_attributes=True),
        partial(typed.dump_python, mode="json", by_alias=True),
        partial(typed.dump_json, by_alias=True),
    )


def _escaped(value: object, plain: Step) -> str:
    """JSON in ASCII: the only way to write a lone surrogate, which has no UTF-8."""
    try:
        return json.dumps(plain(value), separators=(",", ":"))
    except UnicodeEncodeError:  # pydantic refuses a lone surrogate in a key
        return json.dumps(value, separators=(",", ":"), default=plain)


def _utf8(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"dumps must return bytes or str, got {type(text).__name__}")
    # Nothing but a lone surrogate fails to encode, and its backslash form is JSON's own escape.
    return text.encode("utf-8", "backslashreplace")


def _cleaned(line: bytes, strict: bool) -> bytes:
    if not line.isascii():
        for raw, escape in _LINE_BREAKS.items():
            line = line.replace(raw, escape)
    if line.find(b"NaN") != -1 or line.find(b"Infinity") != -1:
        line = _STRING_OR_CONSTANT.sub(_refuse if strict else _null, line)
    if 10 in line:
        line = line.rstrip(b"\n")
        if 10 in line:
            raise ValueError("dumps wrote more than one line; have it write no indentation")
    return line


def _null(found: re.Match[bytes]) -> bytes:
    token = found[0]
    return token if token[:1] == b'"' else b"null"


def _refuse(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token[:1] == b'"':
        return token
    raise ValueError(f"JSON has no {token.decode()}; send None, or choose nan='null'")


def _refusal(item: object, exc: TypeError | ValueError) -> TypeError | ValueError:
    unknown = isinstance(exc, TypeError) or "unknown type" in str(exc)
    return (TypeError if unknown else ValueError)(
        f"an item of type {type(item).__name__} cannot be sent as JSON: {exc}; convert it first, "
        f"or pass a dumps that can serialise it"
    )


_serialise_error = json_serialiser()


def error_object(exc_type: str, detail: str | None) -> bytes:
    """The JSON text `{"error":{"type":...,"detail":...}}` of an error sent in band."""
    return _serialise_error({"error": {"type": exc_type, "detail": detail}})


class JSONLinesEncoder:
    """Encodes each item as one line of JSON (jsonlines.org), UTF-8.

    Items are whatever pydantic can serialise: dicts, lists, dataclasses, models, datetimes, UUIDs,
    Decimals. `dumps`, `adapter`, `nan` and what `encode` raises: see `json_serialiser`.

    >>> JSONLinesEncoder().encode({"id": 1})
    b'{"id":1}\\n'
    """

    __slots__ = ("_serialise",)

    def __init__(
        self,
        dumps: Dumps | None = None,
        *,
        adapter: object = None,
        nan: Literal["null", "error"] = "null",
    ) -> None:
        self._serialise = json_serialiser(dumps, adapter=adapter, nan=nan)

    def encode(self, item: object, /) -> bytes:
        """The line of one item, with its line feed."""
        return self._serialise(item) + b"\n"

    def finish(self) -> bytes:
        """Nothing closes JSON lines."""
        return b""

    def error(self, exc_type: str, detail: str | None) -> bytes:
        """A last line that tells of an error: `{"error": {"type": ..., "detail": ...}}`."""
        return error_object(exc_type, detail) + b"\n"
