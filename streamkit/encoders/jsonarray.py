"""One JSON array, written an element at a time."""

from __future__ import annotations

from streamkit.encoders.jsonlines import Dumps, NaN, json_serialiser
from streamkit.encoders.jsonvalues import Default

__all__ = ["JSONArrayEncoder"]


class JSONArrayEncoder:
    """Encodes items as the elements of one JSON array (RFC 8259 §5), UTF-8.

    The closing bracket comes from `finish` alone, so a body cut short by an error is not valid
    JSON and no reader takes it for whole; that is also why there is no `error` frame. `dumps`,
    `adapter`, `nan`, `default` and what `encode` raises: see
    `streamkit.encoders.jsonlines.json_serialiser`.

    >>> array = JSONArrayEncoder()
    >>> array.encode(1) + array.encode({"a": 2}) + array.finish()
    b'[1,{"a":2}]'
    """

    __slots__ = ("_before", "_serialise")

    def __init__(
        self,
        dumps: Dumps | None = None,
        *,
        adapter: object = None,
        nan: NaN = "null",
        default: Default | None = None,
    ) -> None:
        self._serialise = json_serialiser(dumps, adapter=adapter, nan=nan, default=default)
        self._before = b"["

    def encode(self, item: object, /) -> bytes:
        """The bracket or comma before an element, and the element."""
        element = self._before + self._serialise(item)
        self._before = b","
        return element

    def finish(self) -> bytes:
        """The closing bracket; `[]` when there was no item."""
        return b"[]" if self._before == b"[" else b"]"
