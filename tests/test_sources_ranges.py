"""Any size, any ranges: the parts put together are the slices."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any, cast

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    BytesSource,
)
from streamkit.http.ranges import parse_range
from streamkit.pagecache import READ_SIZE
from streamkit.testing import FetchedResponse
from tests.test_sources import DATA, fetch_content

Parse = Callable[[str, bytes], list[tuple[str, bytes]]]


def parse_with_email(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    whole = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = cast("list[Message]", whole.get_payload())
    assert not whole.defects
    return [(part["content-range"], cast("bytes", part.get_payload(decode=True))) for part in parts]


def parse_with_multipart(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    reason = "the package `multipart` is missing, or older than 2.0, which knows forms only"
    multipart = pytest.importorskip("multipart", "2.0", reason=reason)
    boundary = content_type.partition("boundary=")[2]
    found: list[tuple[str, bytearray]] = []

    class Parser(multipart.PushMultipartParser):  # type: ignore[misc,name-defined]
        # The one thing that its documentation says is to be overridden for multipart/byteranges.
        def _create_segment(self, headers: Any) -> Any:
            return multipart.MultipartSegment(headers)

    with Parser(boundary) as parser:
        for event in parser.parse(body):
            if isinstance(event, multipart.MultipartSegment):
                found.append((event.header("Content-Range"), bytearray()))
            elif event:
                found[-1][1].extend(event)
    return [(place, bytes(data)) for place, data in found]


def parse_range_of(place: str) -> tuple[int, int, int]:
    span, _, size = place.removeprefix("bytes ").partition("/")
    first, _, last = span.partition("-")
    return int(first), int(last) + 1, int(size)


positions = st.integers(0, 210)
# Mostly short, so that a few of them are together no longer than the whole.
lengths = st.one_of(st.integers(0, 5), st.integers(0, 50))
members = st.one_of(
    st.tuples(positions, lengths).map(lambda pair: f"{pair[0]}-{sum(pair)}"),
    positions.map(lambda first: f"{first}-"),
    lengths.map(lambda length: f"-{length}"),
)
range_sets = st.lists(members, min_size=1, max_size=6).map(lambda ranges: ",".join(ranges))
sizes = st.one_of(st.integers(0, 70), st.just(200))
# Line ends and dashes are what a parser could mistake for framing.
contents = sizes.flatmap(
    lambda size: st.one_of(
        st.binary(min_size=size, max_size=size),
        st.text("\r\n-a", min_size=size, max_size=size).map(str.encode),
    )
)


def naive(value: str, size: int) -> tuple[int, set[int]]:
    """The status, and which bytes are asked for: the rules of RFC 9110 §14.1.2, byte by byte."""
    wanted: list[list[int]] = []
    for member in value.split(","):
        first, _, last = member.partition("-")
        if first:
            wanted.append([*range(int(first), min(int(last or size) + 1, size))])
        else:
            wanted.append([*range(max(size - int(last), 0), size)])
    together = sum(map(len, wanted))
    if not together:
        # A suffix of nothing is satisfied by the whole.
        empty = not size and any(m[0] == "-" and int(m[1:]) for m in value.split(","))
        return (200 if empty else 416), set()
    return (200 if together > size else 206), set(itertools.chain(*wanted))


@pytest.mark.parametrize("parse", [parse_with_email, parse_with_multipart])
@given(data=contents, value=range_sets)
def test_the_parts_put_together_are_the_slices(parse: Parse, data: bytes, value: str) -> None:
    response = anyio.run(
        fetch_content, BytesSource(data, media_type="a/b"), {"range": f"bytes={value}"}
    )
    status, wanted = naive(value, len(data))
    assert (response.status, response.complete) == (status, True)
    assert int(response.headers["content-length"]) == len(response.body)
    if status == 416:
        assert (response.body, response.headers["content-range"]) == (b"", f"bytes */{len(data)}")
    elif status == 200:
        assert response.body == data
    else:
        parts = parts_of(response, parse)
        found: list[int] = []
        for place, part in parts:
            start, end, size = parse_range_of(place)
            assert (part, size) == (data[start:end], len(data))
            found += range(start, end)
        assert sorted(found) == sorted(wanted)


def parts_of(response: FetchedResponse, parse: Parse) -> list[tuple[str, bytes]]:
    if "content-range" in response.headers:
        return [(response.headers["content-range"], response.body)]
    kind = response.headers["content-type"]
    assert kind.startswith("multipart/byteranges; boundary=")
    parts = parse(kind, response.body)
    assert len(parts) > 1
    return parts


@given(
    st.integers(0, 3 * READ_SIZE), st.lists(st.integers(0, 3 * READ_SIZE), min_size=2, max_size=6)
)
def test_files_of_any_size_are_cut_where_they_should_be(size: int, cuts: list[int]) -> None:
    data = (DATA * 2)[:size]
    pairs = zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)
    value = "bytes=" + ",".join(f"{first}-{last}" for first, last in pairs)
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    path = Path(file.name)
    try:
        by_path = anyio.run(fetch_content, path, {"range": value})
        by_file = anyio.run(fetch_content, path.open("rb"), {"range": value})
        in_memory = anyio.run(fetch_content, data, {"range": value})
    finally:
        path.unlink()
    ranges = parse_range(value)
    assert ranges is not None
    for response in (by_path, by_file, in_memory):
        assert response.status == in_memory.status
        assert response.complete
        if response.status == 206:
            spans = ranges.resolve(size).spans
            assert [part for _, part in parts_of(response, parse_with_email)] == [
                data[a:b] for a, b in spans
            ]
