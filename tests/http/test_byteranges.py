from __future__ import annotations

from collections.abc import Sequence
from email import message_from_bytes
from email.message import Message
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.byteranges import (
    byteranges,
    closing,
    content_length,
    make_boundary,
    multipart_type,
    part_header,
    part_headers,
)
from streamkit.http.ranges import Span

BOUNDARY = b"frontier"


def put_together(steps: Sequence[bytes | Span], content: bytes) -> bytes:
    return b"".join(
        step if isinstance(step, bytes) else content[step.start : step.end] for step in steps
    )


def parse_multipart(content_type: bytes, body: bytes) -> list[Message]:
    whole = message_from_bytes(b"Content-Type: " + content_type + b"\r\n\r\n" + body)
    assert not whole.defects
    assert whole.is_multipart()
    return cast("list[Message]", whole.get_payload())


def test_the_framing_is_written_to_the_letter() -> None:
    steps = list(byteranges(BOUNDARY, [Span(0, 2), Span(7, 9)], 10, b"text/plain"))
    assert put_together(steps, b"0123456789") == (
        b"\r\n--frontier\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01"
        b"\r\n--frontier\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-8/10\r\n\r\n78"
        b"\r\n--frontier--\r\n"
    )


def test_a_part_without_a_media_type_has_its_place_alone() -> None:
    head = next(iter(byteranges(BOUNDARY, [Span(0, 2)], 10, None)))
    assert head == b"\r\n--frontier\r\nContent-Range: bytes 0-1/10\r\n\r\n"


def test_a_part_may_have_no_headers() -> None:
    assert part_header(BOUNDARY, ()) == b"\r\n--frontier\r\n\r\n"


def test_a_part_of_another_multipart_type_is_framed_the_same() -> None:
    headers = [(b"Content-Type", b"image/jpeg"), (b"Content-Length", b"3")]
    body = part_header(BOUNDARY, headers) + b"jpg" + closing(BOUNDARY)
    (part,) = parse_multipart(multipart_type("x-mixed-replace", BOUNDARY), body)
    assert part.get_content_type() == "image/jpeg"
    assert part.get_payload() == "jpg"


@pytest.mark.parametrize(
    ("boundary", "value"),
    [
        pytest.param(b"abc", b"multipart/mixed; boundary=abc", id="a token stands bare"),
        pytest.param(b"a b", b'multipart/mixed; boundary="a b"', id="a space is quoted"),
        pytest.param(b"a=b", b'multipart/mixed; boundary="a=b"', id="a separator is quoted"),
    ],
)
def test_a_boundary_is_quoted_where_it_must_be(boundary: bytes, value: bytes) -> None:
    assert multipart_type("mixed", boundary) == value


@pytest.mark.parametrize("boundary", [b"", b"a" * 71, b"a ", b"a\r\nb", b'a"b', b"\xe4"])
def test_a_boundary_that_rfc_2046_forbids_is_refused(boundary: bytes) -> None:
    with pytest.raises(ValueError, match=r"is not a multipart boundary: .*make_boundary"):
        closing(boundary)
    with pytest.raises(ValueError, match=r"is not a multipart boundary: .*make_boundary"):
        multipart_type("mixed", boundary)


@pytest.mark.parametrize("name", [b"", b"Content Type", b"A:", b"A\r\n", b"\xe4"])
def test_a_header_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ValueError, match="is not the name of a header"):
        part_headers([(name, b"x")])


@pytest.mark.parametrize("value", [b"a\r\nEvil: yes", b"a\n", b"a\r", b"\x00"])
def test_a_header_value_that_would_end_the_header_is_refused(value: bytes) -> None:
    with pytest.raises(ValueError, match="holds CR, LF or NUL"):
        part_headers([(b"Content-Type", value)])


def test_a_boundary_has_128_random_bits() -> None:
    asked: list[int] = []

    def all_ones(count: int) -> bytes:
        asked.append(count)
        return b"\xff" * count

    assert make_boundary(all_ones) == b"f" * 32
    assert asked == [16]


def test_two_boundaries_differ() -> None:
    assert make_boundary() != make_boundary()


@given(st.binary(min_size=1, max_size=300), st.data())
def test_the_parts_parse_back_to_the_slices(content: bytes, data: st.DataObject) -> None:
    size = len(content)
    pairs = st.tuples(st.integers(0, size - 1), st.integers(1, size))
    spans = [
        Span(start, min(start + length, size))
        for start, length in data.draw(st.lists(pairs, min_size=1, max_size=6))
    ]
    boundary = make_boundary()
    steps = list(byteranges(boundary, spans, size, b"application/octet-stream"))
    body = put_together(steps, content)
    assert content_length(steps) == len(body)
    parts = parse_multipart(multipart_type("byteranges", boundary), body)
    assert [part.get_payload(decode=True) for part in parts] == [
        content[span.start : span.end] for span in spans
    ]
    assert [part["Content-Range"] for part in parts] == [
        f"bytes {span.start}-{span.end - 1}/{size}" for span in spans
    ]
