from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.background import BackgroundTask

import streamkit
from streamkit import (
    FileStreamingResponse,
    PlainTextStreamingResponse,
    PNGStreamingResponse,
    StreamingResponse,
    StreamOutcome,
)
from streamkit.testing import fetch

# What each class sends as Content-Type.
TYPES = {
    "PNG": "image/png",
    "JPEG": "image/jpeg",
    "GIF": "image/gif",
    "WebP": "image/webp",
    "AVIF": "image/avif",
    "SVG": "image/svg+xml",
    "MP3": "audio/mpeg",
    "AAC": "audio/aac",
    "OGG": "audio/ogg",
    "FLAC": "audio/flac",
    "WAV": "audio/wav",
    "MP4": "video/mp4",
    "WebM": "video/webm",
    "MPEGTS": "video/mp2t",
    "PDF": "application/pdf",
    "ZIP": "application/zip",
    "GZIP": "application/gzip",
    "TAR": "application/x-tar",
    "XML": "application/xml",
    "HTML": "text/html; charset=utf-8",
    "PlainText": "text/plain; charset=utf-8",
    "OctetStream": "application/octet-stream",
    "Arrow": "application/vnd.apache.arrow.stream",
    "ArrowStream": "application/vnd.apache.arrow.stream",
    "Parquet": "application/vnd.apache.parquet",
    "XLSX": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "CSV": "text/csv; charset=utf-8",
    "JSONLines": "application/jsonl",
    "JSONArray": "application/json",
    "SSE": "text/event-stream; charset=utf-8",
    "Multipart": "multipart/x-mixed-replace",
}


def class_of(name: str) -> Any:
    return getattr(streamkit, f"{name}StreamingResponse")


def test_the_table_has_every_typed_class() -> None:
    names = {name for name in streamkit.__all__ if name.endswith("StreamingResponse")}
    typed = {f"{name}StreamingResponse" for name in TYPES}
    assert names - typed == {"StreamingResponse", "FileStreamingResponse"}
    assert not typed - names


@pytest.mark.parametrize(("name", "content_type"), TYPES.items())
def test_a_class_sends_its_type(name: str, content_type: str) -> None:
    response = class_of(name)([])
    sent = response.headers["content-type"]
    # The boundary is another one each time.
    assert (sent.partition("; boundary=")[0] if name == "Multipart" else sent) == content_type
    assert response.media_type == class_of(name).media_type == content_type.partition(";")[0]


@pytest.mark.parametrize("name", TYPES)
def test_a_class_takes_the_arguments_of_starlettes_by_place(name: str) -> None:
    own, more = "text/x-own", "charset=utf-8"
    if name == "Multipart":
        own, more = "multipart/x-own", "boundary="
    task = BackgroundTask(print)
    response = class_of(name)([], 201, {"x-own": "1"}, own, task)
    assert (response.status_code, response.headers["x-own"]) == (201, "1")
    assert response.headers["content-type"].startswith(f"{own}; {more}")
    assert response.background is task


def test_a_multipart_response_refuses_a_type_that_is_none() -> None:
    with pytest.raises(ValueError, match=r"must be multipart/\.\.\., got 'text/x-own'"):
        class_of("Multipart")([], media_type="text/x-own")


@pytest.mark.parametrize("name", TYPES)
def test_a_media_type_of_ones_own_is_one_line(name: str) -> None:
    kind = "multipart" if name == "Multipart" else "application"
    own = type("Own", (class_of(name),), {"media_type": f"{kind}/x-own"})
    assert own([]).headers["content-type"].partition(";")[0] == f"{kind}/x-own"


def test_the_plain_class_has_no_type() -> None:
    assert "content-type" not in StreamingResponse([]).headers


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        ({"Content-Type": "image/x-own"}, "image/x-own"),
        ({"content-type": "text/plain"}, "text/plain"),
        ({"x-other": "1"}, "image/png"),
        (None, "image/png"),
    ],
)
def test_a_given_content_type_header_wins(headers: dict[str, str] | None, sent: str) -> None:
    response = PNGStreamingResponse([], headers=headers)
    assert response.headers.getlist("content-type") == [sent]


@pytest.mark.parametrize(
    ("charset", "body"),
    [("utf-8", "Öl".encode()), ("latin-1", b"\xd6l"), ("utf-16-le", b"\xd6\0l\0")],
)
@pytest.mark.anyio
async def test_text_is_sent_in_the_charset_it_says(charset: str, body: bytes) -> None:
    response = await fetch(PlainTextStreamingResponse(["Öl"], charset=charset))
    assert response.headers["content-type"] == f"text/plain; charset={charset}"
    assert response.body == body


class Limited(StreamingResponse):
    """A subclass with a media type and attributes, and nothing else."""

    media_type = "application/wasm"
    max_buffer = 1024
    first_chunk_timeout = None
    thread_affine = True


class TestSubclass:
    def test_attributes_are_its_defaults(self) -> None:
        response = Limited([])
        assert response.headers["content-type"] == "application/wasm"
        assert (response.max_buffer, response.first_chunk_timeout) == (1024, None)
        assert response.thread_affine

    def test_keyword_arguments_go_before_attributes(self) -> None:
        response = Limited([], max_buffer=5, thread_affine=False)
        assert (response.max_buffer, response.thread_affine) == (5, False)
        assert Limited.max_buffer == 1024

    @pytest.mark.parametrize(
        ("attribute", "value"), [("max_buffer", 0), ("send_timeout", -1), ("keep_alive", "1")]
    )
    def test_wrong_attributes_are_refused_where_they_are_written(
        self, attribute: str, value: object
    ) -> None:
        with pytest.raises((TypeError, ValueError), match=f"{attribute} must be"):
            type("Wrong", (StreamingResponse,), {attribute: value})

    @pytest.mark.anyio
    async def test_a_method_is_told_how_it_ended(self) -> None:
        outcomes: list[StreamOutcome] = []

        class Telling(PNGStreamingResponse):
            async def on_close(self, outcome: StreamOutcome) -> None:
                assert isinstance(self, Telling)
                outcomes.append(outcome)

        await fetch(Telling([b"ab", b"c"]))
        assert [(outcome.reason, outcome.bytes_sent) for outcome in outcomes] == [("complete", 3)]

    @pytest.mark.anyio
    async def test_an_encoder_class_is_made_anew_for_each_response(self) -> None:
        class Counting:
            def __init__(self) -> None:
                self.count = 0

            def encode(self, item: object) -> bytes:
                self.count += 1
                return b"%d " % self.count

            def finish(self) -> bytes:
                return b"items"

        class CountingResponse(StreamingResponse):
            encoder = Counting

        for _ in range(2):
            assert (await fetch(CountingResponse([None, None]))).body == b"1 2 items"


@pytest.mark.parametrize("flavour", ["sync", "async", "bytes", "list"])
@pytest.mark.parametrize("name", ["PNG", "XML", "OctetStream", "PlainText"])
@pytest.mark.anyio
async def test_bytes_pass_unchanged(name: str, flavour: str) -> None:
    body = bytes(range(256)) * 300
    chunks = [body[:1], body[1:70_000], body[70_000:]]

    async def agen() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    contents: dict[str, Callable[[], Any]] = {
        "sync": lambda: (chunk for chunk in chunks),
        "async": agen,
        "bytes": lambda: body,
        "list": lambda: chunks,
    }
    response = await fetch(class_of(name)(contents[flavour]()))
    assert (response.status, response.complete) == (200, True)
    assert response.body == body


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("MP4", {}),
        ("PNG", {}),
        ("OctetStream", {}),
        ("XLSX", {}),
        ("ZIP", {}),
        ("TAR", {}),
        ("", {"media_type": "video/mp4"}),
        ("PlainText", {"headers": {"content-type": "video/mp4"}}),
    ],
)
def test_the_name_of_a_file_is_not_sent_as_its_bytes(name: str, options: Any) -> None:
    with pytest.raises(TypeError, match=r"'film\.mp4'; .* pass a Path, or use FileStreaming"):
        class_of(name)("film.mp4", **options)


@pytest.mark.parametrize(
    "media_type",
    [
        None,
        "text/plain",
        "Text/Plain; charset=utf-8",
        "image/svg+xml",
        "application/vnd.apple.mpegurl",
        "application/x-own; charset=utf-8",
    ],
)
@pytest.mark.anyio
async def test_a_str_is_the_whole_of_a_text(media_type: str | None) -> None:
    assert (await fetch(StreamingResponse("Öl", media_type=media_type))).body == "Öl".encode()


class TestFileStreamingResponse:
    @pytest.mark.parametrize(
        ("name", "content_type"),
        [
            ("film.mp4", "video/mp4"),
            ("page.HTML", "text/html; charset=utf-8"),
            ("logo.png", "image/png"),
            ("logs.tar.gz", "application/gzip"),
            ("rows.csv.bz2", "application/octet-stream"),
            ("no-suffix", "application/octet-stream"),
        ],
    )
    def test_the_type_is_guessed(self, name: str, content_type: str) -> None:
        assert FileStreamingResponse(name).headers["content-type"] == content_type

    def test_the_file_name_shown_goes_before_the_path(self) -> None:
        response = FileStreamingResponse("/tmp/4711.bin", filename="bericht Öl.pdf")
        assert response.headers["content-type"] == "application/pdf"
        assert "filename*=UTF-8''bericht%20%C3%96l.pdf" in response.headers["content-disposition"]

    def test_a_media_type_goes_before_the_guess(self) -> None:
        class Tiles(FileStreamingResponse):
            media_type = "application/vnd.tiles"

        given = FileStreamingResponse("film.mp4", media_type="text/x-own")
        assert given.headers["content-type"] == "text/x-own; charset=utf-8"
        assert Tiles("film.mp4").headers["content-type"] == "application/vnd.tiles"

    @pytest.mark.parametrize("convert", [str, Path])
    @pytest.mark.anyio
    async def test_the_file_is_sent(self, convert: Any, tmp_path: Path) -> None:
        (tmp_path / "logo.png").write_bytes(b"\x89PNG" * 1000)
        response = await fetch(FileStreamingResponse(convert(tmp_path / "logo.png")))
        assert (response.status, response.body) == (200, b"\x89PNG" * 1000)
        assert response.headers["content-length"] == "4000"
        assert response.headers["content-type"] == "image/png"

    @pytest.mark.anyio
    async def test_a_missing_file_raises_before_the_status(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            await fetch(FileStreamingResponse(tmp_path / "missing"))

    @pytest.mark.parametrize("path", [b"film.mp4", None, ["film.mp4"], iter([])])
    def test_refuses_what_is_no_path(self, path: Any) -> None:
        with pytest.raises(TypeError, match=f"takes a path, got {type(path).__name__}"):
            FileStreamingResponse(path)


def test_a_generator_given_to_a_typed_class_is_not_started() -> None:
    started: list[int] = []

    def rows() -> Iterator[bytes]:
        started.append(1)
        yield b""

    PNGStreamingResponse(rows())
    assert started == []
