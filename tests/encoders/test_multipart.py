from __future__ import annotations

import doctest
from array import array
from email import message_from_bytes
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.encoders import Encoder
from streamkit.encoders import multipart as multipart_module
from streamkit.encoders.multipart import MultipartEncoder, MultipartPart
from streamkit.http.byteranges import multipart_type


def read_with_email(encoder: MultipartEncoder, body: bytes) -> list[Any]:
    head = b"Content-Type: " + multipart_type("mixed", encoder.boundary) + b"\r\n\r\n"
    message = message_from_bytes(head + body)
    assert message.defects == []
    assert message.is_multipart()
    return list(message.get_payload())


def write(encoder: MultipartEncoder, *items: Any) -> bytes:
    return b"".join([encoder.encode(item) for item in items]) + encoder.finish()


def test_its_examples_run() -> None:
    assert doctest.testmod(multipart_module).failed == 0


def test_it_is_an_encoder() -> None:
    assert isinstance(MultipartEncoder(), Encoder)


def test_every_part_has_its_type_its_length_and_its_own_headers() -> None:
    encoder = MultipartEncoder("image/png", b"xyz")
    part = MultipartPart(memoryview(b"{}"), "application/json", {"Content-ID": "<a@b>"})
    assert write(encoder, b"\x89PNG", part, bytearray(b"")) == (
        b"\r\n--xyz\r\nContent-Type: image/png\r\nContent-Length: 4\r\n\r\n\x89PNG"
        b"\r\n--xyz\r\nContent-Type: application/json\r\nContent-ID: <a@b>\r\n"
        b"Content-Length: 2\r\n\r\n{}"
        b"\r\n--xyz\r\nContent-Type: image/png\r\nContent-Length: 0\r\n\r\n"
        b"\r\n--xyz--\r\n"
    )


@pytest.mark.parametrize(
    ("default", "own", "found"),
    [
        (None, None, "application/octet-stream"),
        ("image/png", None, "image/png"),
        ("image/png", "image/gif", "image/gif"),
        (None, "text/plain; charset=utf-8", "text/plain; charset=utf-8"),
    ],
)
def test_a_part_without_a_type_has_the_encoders(
    default: str | None, own: str | None, found: str
) -> None:
    encoder = MultipartEncoder(default)
    (part,) = read_with_email(encoder, write(encoder, MultipartPart(b"x", own)))
    assert part["Content-Type"] == found


def test_each_encoder_has_a_boundary_of_its_own() -> None:
    assert MultipartEncoder().boundary != MultipartEncoder().boundary
    assert MultipartEncoder(boundary=b"mine").boundary == b"mine"
    with pytest.raises(ValueError, match="is not a multipart boundary"):
        MultipartEncoder(boundary=b"a\r\n")


def test_a_stream_without_parts_is_only_closed() -> None:
    assert MultipartEncoder("image/png", b"xyz").finish() == b"\r\n--xyz--\r\n"
    assert MultipartEncoder("image/png", b"xyz", replace=True).finish() == b"\r\n--xyz--\r\n"


bodies = st.lists(
    st.binary(max_size=60) | st.sampled_from([b"\r\n", b"--", b"\r\n--x"]), min_size=1
)


@given(bodies)
def test_email_reads_back_every_part(sent: list[bytes]) -> None:
    encoder = MultipartEncoder("application/octet-stream")
    # The parser of mail knows no length, and drops 8-bit bytes that no transfer encoding tells of.
    items = [
        MultipartPart(body.hex().encode() + b"\r\n", headers={"X-Number": str(number)})
        for number, body in enumerate(sent)
    ]
    parts = read_with_email(encoder, write(encoder, *items))
    assert [part.get_payload() for part in parts] == [bytes(i.body).decode() for i in items]
    assert [part["X-Number"] for part in parts] == [str(number) for number in range(len(sent))]
    assert [part["Content-Length"] for part in parts] == [str(len(item.body)) for item in items]


@given(bodies, st.integers(1, 9))
def test_the_multipart_package_reads_back_every_part(sent: list[bytes], step: int) -> None:
    multipart = pytest.importorskip("multipart")
    encoder = MultipartEncoder("image/png")
    name = {"Content-Disposition": 'form-data; name="frame"; filename="f.png"'}
    body = write(encoder, *[MultipartPart(item, headers=name) for item in sent])
    received: list[bytes] = []
    with multipart.PushMultipartParser(encoder.boundary) as parser:
        for start in range(0, len(body), step):
            for event in parser.parse(body[start : start + step]):
                if isinstance(event, multipart.MultipartSegment):
                    assert event.header("Content-Type") == "image/png"
                    received.append(b"")
                elif event:
                    received[-1] += event
    assert received == sent


def test_a_replacing_stream_promises_the_next_part_behind_each_body() -> None:
    encoder = MultipartEncoder("image/png", b"xyz", replace=True)
    start = b"\r\n--xyz\r\nContent-Type: image/png\r\n\r\n"
    assert encoder.encode(b"one") == start + b"one" + start
    assert encoder.encode(b"two") == b"two" + start
    assert encoder.finish() == b"two\r\n--xyz--\r\n"


def test_a_replacing_stream_fills_the_promised_part_before_other_headers() -> None:
    encoder = MultipartEncoder("text/plain", replace=True)
    items = [b"one", MultipartPart(b"two", "text/html"), MultipartPart(b"three", "text/html")]
    parts = read_with_email(encoder, write(encoder, *items))
    assert [(part.get_content_type(), part.get_payload()) for part in parts] == [
        ("text/plain", "one"),
        ("text/plain", "one"),
        ("text/html", "two"),
        ("text/html", "three"),
        ("text/html", "three"),
    ]


@pytest.mark.parametrize("item", ["text", 5, None, [b"x"]])
def test_an_item_that_is_no_part_is_refused(item: Any) -> None:
    with pytest.raises(TypeError, match=r"must be MultipartPart or bytes-like, got"):
        MultipartEncoder("image/png").encode(item)


def test_bytes_without_a_type_are_refused() -> None:
    with pytest.raises(TypeError, match=r"need a type: pass part_media_type=, such as"):
        MultipartEncoder().encode(b"x")


@pytest.mark.parametrize("body", ["text", 5, None])
def test_the_body_of_a_part_is_bytes(body: Any) -> None:
    with pytest.raises(TypeError, match=r"must be bytes-like, got .*; encode text first"):
        MultipartPart(body)


@pytest.mark.parametrize("value", ["a\rb", "a\nSet-Cookie: x", "a\0", "a\x0b", "\x7f", "\u2028"])
def test_no_header_can_be_injected(value: str) -> None:
    for build, reason in (
        (lambda: MultipartPart(b"", value), "the value .* of the part header 'Content-Type'"),
        (lambda: MultipartPart(b"", headers={"X-A": value}), "the value .* of the part header"),
        (lambda: MultipartPart(b"", headers={value: "a"}), "is not the name of a header"),
        (lambda: MultipartEncoder(value), "the value .* of the part header 'Content-Type'"),
    ):
        with pytest.raises(ValueError, match=reason):
            build()


def test_a_tab_and_latin_text_may_stand_in_a_header() -> None:
    encoder = MultipartEncoder()
    body = encoder.encode(MultipartPart(b"", headers={"X-A": "a\tö"}))
    assert b"\r\nX-A: a\t\xf6\r\n" in body


@pytest.mark.parametrize("name", ["Content-Type", "content-type"])
def test_the_type_of_a_part_cannot_be_given_twice(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} is written by the encoder; pass media_type="):
        MultipartPart(b"", headers={name: "image/png"})


@pytest.mark.parametrize("value", ["2", "4", "", "-3", "+3", "3.0", "0x3", "3, 3"])
def test_a_length_given_by_hand_is_checked(value: str) -> None:
    reason = "is .*, and the body has 3 bytes; leave it out"
    with pytest.raises(ValueError, match=f"content-length {reason}"):
        MultipartPart(b"png", headers={"content-length": value})


def test_the_length_is_that_of_the_bytes() -> None:
    numbers = memoryview(array("I", [1, 2]))
    size = str(numbers.nbytes)
    part = MultipartPart(numbers, "image/png", {"Content-Length": size})
    assert f"\r\nContent-Length: {size}\r\n".encode() in MultipartEncoder().encode(part)


def test_a_right_length_given_by_hand_is_sent_once() -> None:
    part = MultipartPart(b"png", "image/png", {"content-length": " 3 ", "X-A": "1"})
    for replace in (False, True):
        encoder = MultipartEncoder(boundary=b"b", replace=replace)
        assert encoder.encode(part) == (
            b"\r\n--b\r\nContent-Type: image/png\r\nX-A: 1\r\nContent-Length: 3\r\n\r\npng"
        )
        assert encoder.finish() == b"\r\n--b--\r\n"


def test_every_part_of_a_replacing_stream_has_its_length_by_choice() -> None:
    encoder = MultipartEncoder("image/png", b"b", replace=True, part_length=True)
    assert write(encoder, b"one", b"three") == (
        b"\r\n--b\r\nContent-Type: image/png\r\nContent-Length: 3\r\n\r\none"
        b"\r\n--b\r\nContent-Type: image/png\r\nContent-Length: 5\r\n\r\nthree"
        b"\r\n--b--\r\n"
    )


def test_a_part_with_a_length_fills_the_part_that_was_promised_before_it() -> None:
    encoder = MultipartEncoder("text/plain", replace=True)
    items = [b"one", MultipartPart(b"two", headers={"Content-Length": "3"}), b"three"]
    parts = read_with_email(encoder, write(encoder, *items))
    assert [(part["Content-Length"], part.get_payload()) for part in parts] == [
        (None, "one"),
        (None, "one"),
        ("3", "two"),
        (None, "three"),
        (None, "three"),
    ]


class Kind(str, Enum):  # noqa: UP042 - its str() is not its value
    TYPE = "image/png"
    NAME = "X-Kind"
    VALUE = "value"


def test_a_subclass_of_str_is_the_string_it_is_in_a_part() -> None:
    encoder = MultipartEncoder(Kind.TYPE, b"b")
    assert b"\r\nContent-Type: image/png\r\n" in encoder.encode(b"")
    part = MultipartPart(b"", Kind.TYPE, {Kind.NAME: Kind.VALUE})
    assert b"\r\nContent-Type: image/png\r\nX-Kind: value\r\n" in encoder.encode(part)


def test_a_part_is_immutable_and_shows_no_body() -> None:
    part = MultipartPart(b"x" * 1000, "image/png")
    assert repr(part) == "MultipartPart(media_type='image/png', headers=None)"
    assert part == MultipartPart(b"x" * 1000, "image/png")
    with pytest.raises(AttributeError):
        part.body = b""  # type: ignore[misc]
