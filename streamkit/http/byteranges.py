"""The framing of a multipart body (RFC 2046 §5.1.1), and the body of a multi-range 206."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence

from streamkit.http.ranges import Span, content_range

__all__ = [
    "byteranges",
    "closing",
    "content_length",
    "delimiter",
    "make_boundary",
    "multipart_type",
    "part_header",
    "part_headers",
]

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[^\x00\r\n]*")


def make_boundary(token_bytes: Callable[[int], bytes] = secrets.token_bytes) -> bytes:
    """Make a boundary of 128 random bits in hex, so that no content holds it by accident."""
    return token_bytes(16).hex().encode("ascii")


def multipart_type(subtype: str, boundary: bytes) -> bytes:
    """Write the `Content-Type` of a multipart body, quoting a boundary that is no token."""
    _check_boundary(boundary)
    # Quotes only where needed: readers of camera streams are known to choke on them.
    value = boundary if _TOKEN.fullmatch(boundary) else b'"%b"' % boundary
    return b"multipart/%b; boundary=%b" % (subtype.encode("ascii"), value)


def delimiter(boundary: bytes) -> bytes:
    """Write the delimiter between parts, with the CRLF that belongs to it.

    The first part gets the CRLF as well: it makes an empty preamble, without which some clients
    do not see the first boundary.
    """
    _check_boundary(boundary)
    return b"\r\n--%b" % boundary


def part_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write what follows a delimiter: the header lines of a part and the blank line after them.

    Raises `ValueError` for a name that is no token, and for CR, LF or NUL in a value.
    """
    lines = [b"\r\n"]
    for name, value in headers:
        _check_header(name, value)
        lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join((*lines, b"\r\n"))


def part_header(boundary: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Write all that stands before the body of a part: delimiter, headers, blank line."""
    return delimiter(boundary) + part_headers(headers)


def closing(boundary: bytes) -> bytes:
    """Write the delimiter after the last part."""
    return delimiter(boundary) + b"--\r\n"


def byteranges(
    boundary: bytes, spans: Sequence[Span], size: int, media_type: bytes | None
) -> Iterator[bytes | Span]:
    """Give the steps of a multipart/byteranges body (RFC 9110 §14.6), framing and spans in turn.

    `media_type` is what a 200 would have as its `Content-Type`; None if it would have none.
    """
    described = () if media_type is None else ((b"Content-Type", media_type),)
    for span in spans:
        place = content_range(span, size).encode("ascii")
        yield part_header(boundary, (*described, (b"Content-Range", place)))
        yield span
    yield closing(boundary)


def content_length(steps: Iterable[bytes | Span]) -> int:
    """Add up the bytes that the steps come to: the writer itself is the measure."""
    return sum(len(step) if isinstance(step, bytes) else step.end - step.start for step in steps)


def _check_boundary(boundary: bytes) -> None:
    if not _BOUNDARY.fullmatch(boundary):
        raise ValueError(
            f"{boundary!r} is not a multipart boundary: RFC 2046 §5.1.1 allows 1 to 70 letters, "
            "digits and '()+_,-./:=? with no space at the end; make_boundary() makes one"
        )


def _check_header(name: bytes, value: bytes) -> None:
    if not _TOKEN.fullmatch(name):
        raise ValueError(
            f"{name!r} is not the name of a header: RFC 9110 §5.1 wants a token, that is letters, "
            "digits and !#$%&'*+-.^_`|~ such as b'Content-Type'"
        )
    if not _VALUE.fullmatch(value):
        raise ValueError(
            f"the value {value!r} of the part header {name!r} holds CR, LF or NUL, which would end "
            "the header early (RFC 9110 §5.5); remove them or percent-encode the value"
        )
