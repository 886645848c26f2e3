"""JSON lines, one JSON text a line; and the serialiser that every JSON format shares."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Literal, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json, to_jsonable_python

from streamkit.encoders.jsonvalues import Default, Rows, fallback_for, holds_iterator, mended
from streamkit.encoders.rows import object_of

__all__ = ["Dumps", "JSONLinesEncoder", "Serialise", "error_object", "json_serialiser"]

Dumps = Callable[[Any], bytes | str]
"""`orjson.dumps`, `msgspec.json.encode`, `json.dumps` and the like."""

_SURROGATE = "surrogates not allowed"  # the codec's own words, in the error of every serialiser
_STRING_OR_CONSTANT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?(?:NaN|Infinity)')

Step = Callable[[Any], Any]
Serialise = Callable[[object], bytes]
Refusal = TypeError | ValueError
NaN = Literal["null", "error"]


def json_serialiser(
    dumps: Dumps | None = None,
    *,
    adapter: object = None,
    nan: NaN = "null",
    default: Default | None = None,
    end: bytes = b"",
) -> Serialise:
    """A function that gives the JSON text (RFC 8259) of an item as one line of UTF-8, and `end`.

    `dumps` replaces `pydantic_core.to_json`; `adapter`, a type or a `TypeAdapter`, validates each
    item first (reading attributes too) and serialises it by alias. U+0085, U+2028 and U+2029 are
    escaped, and so is a lone surrogate. NaN, infinities and the NaT and NA of pandas and NumPy
    become `null`, or raise `ValueError` with `nan="error"`; a `dumps` that itself writes `null`
    for them, as orjson's and msgspec's do, leaves nothing to find.

    An item that acts like a mapping (`MappingProxyType`, `UserDict`) or like a row with names
    (SQLAlchemy's `Row`, `sqlite3.Row`, `asyncpg.Record`, a named tuple) is written as an object.
    Such values inside an item are too, unless they are tuples or lists, which stay arrays there.
    `default`, a function as `json.dumps` takes it, gives something serialisable for a value of any
    other type; a `dumps` has its own.

    The function raises `TypeError` for an item of a type that JSON cannot hold, `ValueError` for
    one whose value it cannot, and pydantic's `ValidationError` for what `adapter` refuses.

    >>> json_serialiser()({"price": float("nan")})
    b'{"price":null}'
    """
    if nan not in ("null", "error"):
        raise ValueError(f"nan must be 'null' or 'error', got {nan!r}")
    if dumps is adapter is default is None:
        return _shared_serialiser(nan, end)
    if dumps is not None and default is not None:
        raise ValueError(
            "default is called by pydantic's serialiser, and dumps replaces that; give it to the "
            "function itself: partial(json.dumps, default=...)"
        )
    return _make_serialiser(dumps, adapter, nan, default, end)


@cache
def _shared_serialiser(nan: NaN, end: bytes) -> Serialise:
    """One for all streams that ask for nothing special: it is a kilobyte large."""
    return _make_serialiser(None, None, nan, None, end)


def _make_serialiser(
    dumps: Dumps | None, adapter: object, nan: NaN, default: Default | None, end: bytes
) -> Serialise:
    fallback, rows = fallback_for(default, nan), Rows()
    prepare, plain, write = _pydantic_steps(adapter, fallback)
    if dumps is not None:
        write = dumps if adapter is None else lambda value: dumps(plain(value))
    strict = nan == "error"
    verify = plain if strict and dumps is None else None

    def serialise(item: object, failed: Refusal | None = None) -> bytes:
        try:
            value = item
            # A type of tuples is the adapter's own affair.
            if rows[type(item)] and (adapter is None or not isinstance(item, tuple)):
                value = object_of(item)
            if prepare is not None:
                value = prepare(value)
            line = _utf8_json(value, write, plain, nan, failed)
            # A byte is found much faster than a substring, and few lines have an N or an I.
            if not (line.isascii() and 78 not in line and 73 not in line and 10 not in line):
                line = _clean(line, strict)
            if verify is not None and b"null" in line:
                json.dumps(verify(value), allow_nan=False)
        except ValidationError:
            raise
        except (TypeError, ValueError) as exc:
            raise _refusal(item, exc) from exc
        return line + end

    return serialise if dumps or strict or prepare else _quick(serialise, rows, fallback, end)


def _quick(serialise: Callable[..., bytes], rows: Rows, fallback: Default, end: bytes) -> Serialise:
    """The same for the defaults, with less to do for an item of plain ASCII."""

    def quick(item: object) -> bytes:
        kind = type(item)
        if kind is not dict and rows[kind]:
            return serialise(item)
        try:
            line = to_json(item, fallback=fallback)
        except (TypeError, ValueError) as exc:
            return serialise(item, exc)
        if line.isascii() and 78 not in line and 73 not in line:
            return line + end
        return _clean(line, strict=False) + end

    return quick


def _pydantic_steps(adapter: object, fallback: Default) -> tuple[Step | None, Step, Dumps]:
    """How to validate an item, if at all, to make it plain Python values, and to make it JSON."""
    if adapter is None:
        # `inf_nan_mode="null"` costs a third more for each item; _clean fixes the few such lines.
        return (
            None,
            partial(to_jsonable_python, inf_nan_mode="constants", fallback=fallback),
            partial(to_json, fallback=fallback),
        )
    typed: TypeAdapter[Any] = (
        adapter if isinstance(adapter, TypeAdapter) else TypeAdapter(cast(Any, adapter))
    )
    # The adapter's own methods take no fallback before pydantic 2.11.
    serializer = typed.serializer
    return (
        partial(typed.validate_python, from_attributes=True),
        partial(serializer.to_python, mode="json", by_alias=True, fallback=fallback),
        partial(serializer.to_json, by_alias=True, fallback=fallback),
    )


def _utf8_json(
    value: object, write: Dumps, plain: Step, nan: NaN, failed: Refusal | None = None
) -> bytes:
    try:
        # Not written again: an iterator in it is used up, and would be sent as if it were empty.
        if failed is not None:
            raise failed
        text = write(value)
    except (TypeError, ValueError) as exc:
        if _SURROGATE in str(exc):
            text = _ascii_json(value, plain)
        elif holds_iterator(value) or (better := mended(value, nan)) is value:
            raise
        else:
            return _utf8_json(better, write, plain, nan)
    if isinstance(text, bytes):
        return text
    if not isinstance(text, str):
        raise TypeError(f"dumps must return bytes or str, got {type(text).__name__}")
    # Nothing but a lone surrogate fails to encode, and its backslash form is JSON's own escape.
    return text.encode("utf-8", "backslashreplace")


def _ascii_json(value: object, plain: Step) -> str:
    if holds_iterator(value):
        raise ValueError("it holds a lone surrogate and an iterator, now used up; send a list")
    try:
        return json.dumps(plain(value), separators=(",", ":"))
    except UnicodeEncodeError:  # pydantic refuses a lone surrogate in a key
        return json.dumps(value, separators=(",", ":"), default=plain)


def _clean(line: bytes, strict: bool) -> bytes:
    # 0xC2 and 0xE2 are the first bytes of these characters, and rarer than other letters.
    if 0xC2 in line:
        line = line.replace(b"\xc2\x85", b"\\u0085")
    if 0xE2 in line:
        line = line.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
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


def _refusal(item: object, exc: Refusal) -> Refusal:
    unknown = isinstance(exc, TypeError) or "unknown type" in str(exc)
    return (TypeError if unknown else ValueError)(
        f"an item of type {type(item).__name__} cannot be sent as JSON: {exc}; convert it first, "
        f"or pass default= or a dumps that can serialise it"
    )


_serialise_error = json_serialiser()


def error_object(exc_type: str, detail: str | None) -> bytes:
    """The JSON text of an error sent in band: `{"error": {"type", "message", "detail"}}`.

    `message` says the same as `detail`, to clients that know it by that name; it is never null.
    """
    message = exc_type if detail is None else detail
    return _serialise_error({"error": {"type": exc_type, "message": message, "detail": detail}})


class JSONLinesEncoder:
    """Encodes each item as one line of JSON (jsonlines.org), UTF-8.

    Items are all that pydantic can serialise: dicts, lists, dataclasses, models, datetimes, UUIDs,
    Decimals; also all other mappings, and rows. `dumps`, `adapter`, `nan`, `default` and what
    `encode` raises: see `json_serialiser`.

    >>> JSONLinesEncoder().encode({"id": 1})
    b'{"id":1}\\n'
    """

    def __init__(
        self,
        dumps: Dumps | None = None,
        *,
        adapter: object = None,
        nan: NaN = "null",
        default: Default | None = None,
    ) -> None:
        # The function itself, without slots for pyright's sake: a method around it would cost a
        # sixth more.
        self.encode: Serialise = json_serialiser(
            dumps, adapter=adapter, nan=nan, default=default, end=b"\n"
        )
        self._untyped: Serialise = (
            self.encode
            if adapter is None
            else json_serialiser(dumps, nan=nan, default=default, end=b"\n")
        )

    def finish(self) -> bytes:
        """Nothing closes JSON lines."""
        return b""

    def error(self, exc_type: str, detail: str | None) -> bytes:
        """A last line about an error: `{"error": {"type": ..., "message": ..., "detail": ...}}`."""
        return error_object(exc_type, detail) + b"\n"

    def error_item(self, item: object) -> bytes:
        """A last line about an error: an item of any type, also where the others have one type."""
        return self._untyped(item)
