"""Multipart bodies: each item is a part, such as the next picture of an `<img>` that moves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from streamkit.http.byteranges import closing, make_boundary, part_header, part_headers

__all__ = ["MultipartEncoder", "MultipartPart"]

Headers = tuple[tuple[bytes, bytes], ...]

_UNFIT = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_LENGTH = "content-length"


@dataclass(frozen=True, slots=True)
class MultipartPart:
    """One part of a multipart body: bytes, their media type and further headers; immutable.

    Without a `media_type` it has the encoder's, or else `application/octet-stream`. A
    `Content-Length` among the headers is checked, and sent even where the encoder writes none.
    Raises `TypeError` for a body that is not bytes-like; `ValueError` for a header that is no
    header (RFC 9110 §5), for a length that is not the body's, and for `Content-Type`, which is the
    `media_type`.

    >>> MultipartPart(b"{}", "application/json", {"Content-ID": "<a@b>"}).media_type
    'application/json'
    """

    body: bytes | bytearray | memoryview = field(repr=False)
    media_type: str | None = None
    headers: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.body, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"the body of a MultipartPart must be bytes-like, got {type(self.body).__name__}; "
                f"encode text first"
            )
        if self.media_type is not None:
            _header("Content-Type", self.media_type)
        for name, value in (self.headers or {}).items():
            lower = str.lower(name)
            if lower == "content-type":
                raise ValueError(f"{name} is written by the encoder; pass media_type= instead")
            if lower == _LENGTH and str.strip(value) != str(size := memoryview(self.body).nbytes):
                raise ValueError(
                    f"{name} is {value!r}, and the body has {size} bytes; leave it out, or give "
                    f"the number of bytes"
                )
            _header(name, value)

    @property
    def _has_length(self) -> bool:
        return any(str.lower(name) == _LENGTH for name in self.headers or ())


def _header(name: str, value: str) -> tuple[bytes, bytes]:
    if _UNFIT.search(value):
        raise ValueError(
            f"the value {value!r} of the part header {name!r} holds a control character or one "
            f"beyond Latin-1 (RFC 9110 §5.5); remove it or percent-encode the value"
        )
    # The string itself: a subclass (an enum, say) may have another `encode`.
    header = (str.encode(name, "latin-1", "replace"), str.encode(value, "latin-1"))
    part_headers([header])  # refuses a name that is no token
    return header


class MultipartEncoder:
    """Encodes each item as a part of a multipart body (RFC 2046 §5.1).

    An item is a `MultipartPart`, or bytes of the one `part_media_type`. `boundary`, by default
    random, must not occur in any part; it is what the `Content-Type` of the response has to name.

    `replace=False` writes a Content-Length into each part. `replace=True` is for
    `multipart/x-mixed-replace`: Chromium shows a part only once it has the headers of the next
    one, so these follow each body at once, without the length, which is not known yet. A stream
    that ends, or changes the headers, fills the part it had promised with the last body again.
    `part_length=True` is for readers that need a Content-Length there, too: each part
    is then sent with the length and without a promise, so that Chromium shows it with the next.

    `encode` raises `TypeError` for any other item, and for bytes without `part_media_type`.

    >>> parts = MultipartEncoder("text/plain", b"xyz")
    >>> parts.encode(b"Hi")
    b'\\r\\n--xyz\\r\\nContent-Type: text/plain\\r\\nContent-Length: 2\\r\\n\\r\\nHi'
    >>> parts.finish()
    b'\\r\\n--xyz--\\r\\n'
    """

    __slots__ = ("_default", "_end", "_last", "_part_length", "_promised", "boundary")

    def __init__(
        self,
        part_media_type: str | None = None,
        boundary: bytes | None = None,
        *,
        replace: bool = False,
        part_length: bool = False,
    ) -> None:
        self.boundary: bytes = make_boundary() if boundary is None else boundary
        self._end = closing(self.boundary)
        self._default = (
            None if part_media_type is None else _header("Content-Type", part_media_type)
        )
        self._part_length = part_length or not replace
        self._promised = self._last = b""

    def encode(self, item: MultipartPart | bytes | bytearray | memoryview, /) -> bytes:
        """The framing and the body of one part."""
        body, headers = self._part(item)
        if not self._part_length and not (isinstance(item, MultipartPart) and item._has_length):
            return self._replacing(body, headers)
        length = (b"Content-Length", b"%d" % len(body))
        # A part that was promised before is filled first.
        before, self._last, self._promised = self._last, b"", b""
        return before + part_header(self.boundary, (*headers, length)) + body

    def finish(self) -> bytes:
        """The delimiter that ends the body, after the part that `replace=True` has promised."""
        return self._last + self._end

    def _replacing(self, body: bytes, headers: Headers) -> bytes:
        start = part_header(self.boundary, headers)
        before = b"" if start == self._promised else self._last + start
        self._promised, self._last = start, body
        return before + body + start

    def _part(self, item: object) -> tuple[bytes, Headers]:
        if isinstance(item, MultipartPart):
            more = (
                _header(name, value)
                for name, value in (item.headers or {}).items()
                if str.lower(name) != _LENGTH
            )
            return bytes(item.body), (self._type_of(item), *more)
        if not isinstance(item, (bytes, bytearray, memoryview)):
            raise TypeError(
                f"items of a multipart stream must be MultipartPart or bytes-like, got "
                f"{type(item).__name__}: {item!r:.60}"
            )
        if self._default is None:
            raise TypeError(
                "bytes as items of a multipart stream need a type: pass part_media_type=, such as "
                "'image/jpeg', or send MultipartPart(body, media_type)"
            )
        return bytes(item), (self._default,)

    def _type_of(self, part: MultipartPart) -> tuple[bytes, bytes]:
        if part.media_type is not None:
            return _header("Content-Type", part.media_type)
        return self._default or (b"Content-Type", b"application/octet-stream")
