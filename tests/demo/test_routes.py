"""What the routes of the demo send, decoded again."""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import wave
import zipfile
import zlib
from datetime import datetime
from typing import Any

import anyio
import pytest

from streamkit.demo import app as demo
from streamkit.demo import lasting, melody, race
from streamkit.demo.pdf import make_pdf
from streamkit.demo.png import encode_png, paint_waves
from streamkit.demo.seekable import BUCKET, FILM, REPORT, NumberedLines, StoredObject
from streamkit.testing import check_source, fetch, stream
from tests.demo.support import PATHS


@pytest.mark.anyio
class TestItemRoutes:
    async def test_the_clock_ticks(self) -> None:
        async with stream(demo.app, "/clock") as client:
            assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert client.headers["x-content-type-options"] == "nosniff"
            events = ""
            while events.count("data: ") < 2:
                events += (await anext(client)).decode()
        times = [datetime.fromisoformat(time) for time in re.findall(r"data: (.+)\n", events)]
        assert times[0] < times[1]
        assert re.findall(r"id: (.+)\n", events)[:2] == ["1", "2"]

    async def test_the_clock_goes_on_after_the_last_event_that_was_seen(self) -> None:
        async with stream(demo.app, "/clock", headers={"last-event-id": "41"}) as client:
            events = ""
            while "data: " not in events:
                events += (await anext(client)).decode()
        assert "id: 42\n" in events

    async def test_the_answer_comes_in_tokens_and_says_when_it_is_over(self) -> None:
        response = await fetch(demo.app, "/answer")
        *tokens, end = re.findall(r"event: (.+)\ndata: (.*)\n", response.body.decode())
        assert tokens[:3] == [("token", "Each "), ("token", "token "), ("token", "is ")]
        assert end == ("end", "")

    async def test_readings_come_as_lines_of_json(self) -> None:
        async with stream(demo.app, "/readings.jsonl") as client:
            assert client.headers["content-type"].startswith("application/jsonl")
            rows = [json.loads(await anext(client)) for _ in range(2)]
        assert [row["number"] for row in rows] == [1, 2]
        assert datetime.fromisoformat(rows[0]["time"]) < datetime.fromisoformat(rows[1]["time"])
        assert rows[0]["celsius"] == 21.2

    async def test_pictures_replace_each_other(self) -> None:
        async with stream(demo.app, "/pictures") as client:
            kind, _, boundary = client.headers["content-type"].partition("; boundary=")
            received = b""
            while received.count(b"IEND") < 3:
                received += await anext(client)
        assert kind == "multipart/x-mixed-replace"
        parts = received.split(f"\r\n--{boundary}\r\n".encode())[1:4]
        frames = [decode_png(part.partition(b"\r\n\r\n")[2]) for part in parts]
        assert [frame[:2] for frame in frames] == [(160, 100)] * 3
        assert len({pixels for *_, pixels in frames}) == 3

    async def test_the_csv_file_has_a_header_and_all_rows(self) -> None:
        response = await fetch(demo.app, "/readings.csv")
        assert response.headers["content-disposition"] == 'attachment; filename="readings.csv"'
        rows = list(csv.DictReader(io.StringIO(response.body.decode("utf-8-sig"))))
        assert len(rows) == 10_000
        assert list(rows[0]) == ["number", "time", "celsius"]
        assert (rows[6]["number"], rows[6]["celsius"]) == ("7", "24.9")

    async def test_the_export_unpacks(self) -> None:
        response = await fetch(demo.app, "/export.zip")
        assert response.headers["content-disposition"] == 'attachment; filename="export.zip"'
        with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
            assert archive.testzip() is None
            assert archive.read("film.mp4") == FILM.read_bytes()
            assert archive.read("documents/report.pdf") == REPORT
            assert archive.read("days/12.txt").endswith(b"line 5 of day 12\n")


@pytest.mark.anyio
class TestSeekableRoutes:
    async def test_the_film_is_small_and_its_index_comes_first(self) -> None:
        film = FILM.read_bytes()
        assert len(film) < 40_000
        assert film[4:8] == b"ftyp"
        assert film.index(b"moov") < film.index(b"mdat")

    async def test_an_answer_goes_on_without_its_client_and_a_counter_is_for_all(self) -> None:
        async with lasting.live:
            async with stream(demo.app, "/lasting?run=mine") as client:
                while b"data: This" not in (first := await anext(client)):
                    pass
            assert await lasting.live.state("mine") == "running"
            # A second start follows the first.
            async with stream(demo.app, "/lasting?run=mine") as client:
                while b"data: This" not in (again := await anext(client)):
                    pass
            assert again[: len(first)] == first
            assert (await fetch(demo.app, "/counter", method="POST")).status == 204
            async with stream(demo.app, "/counter") as client:
                while b"data: 1\n" not in await anext(client):
                    pass

    async def test_the_film_answers_ranges(self) -> None:
        film = FILM.read_bytes()
        response = await fetch(demo.app, "/film.mp4", headers={"range": "bytes=1000-1999"})
        assert response.status == 206
        assert response.headers["content-type"] == "video/mp4"
        assert response.headers["content-range"] == f"bytes 1000-1999/{len(film)}"
        assert response.body == film[1000:2000]

    async def test_the_download_says_where_it_is(self) -> None:
        async with stream(demo.app, "/gibibyte.bin") as client:
            assert client.headers["content-length"] == str(2**30)
            assert client.headers["accept-ranges"] == "bytes"
            assert (await anext(client)).startswith(b"000000000000000\n000000000000001\n")

    async def test_the_download_resumes(self) -> None:
        async with stream(demo.app, "/gibibyte.bin") as client:
            etag = client.headers["etag"]
            received = await anext(client)
        headers = {"range": f"bytes={len(received)}-", "if-range": etag}
        async with stream(demo.app, "/gibibyte.bin", headers=headers) as client:
            assert client.status == 206
            assert client.headers["content-range"] == f"bytes {len(received)}-{2**30 - 1}/{2**30}"
            received += await anext(client)
        lines = received[: len(received) // 16 * 16].split()
        assert lines == [b"%015d" % number for number in range(len(lines))]

    async def test_the_download_starts_again_when_it_has_changed(self) -> None:
        headers = {"range": "bytes=1000-", "if-range": '"another"'}
        async with stream(demo.app, "/gibibyte.bin", headers=headers) as client:
            assert client.status == 200
            assert (await anext(client)).startswith(b"000000000000000\n")

    async def test_an_object_has_ranges_and_an_etag(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(StoredObject, "pause", 0)
        path, size = "/objects/brook.txt", len(BUCKET["brook.txt"])
        part = await fetch(demo.app, path, headers={"range": "bytes=-57"})
        assert (part.status, part.headers["content-range"]) == (206, f"bytes 298-354/{size}")
        assert part.body.startswith(b"For men may come and men may go")
        known = {"if-none-match": part.headers["etag"]}
        assert (await fetch(demo.app, path, headers=known)).status == 304
        assert (await fetch(demo.app, path, headers={"range": "bytes=9999-"})).status == 416
        assert (await fetch(demo.app, "/objects/none.txt")).status == 404
        with anyio.fail_after(20):
            await check_source(lambda: StoredObject("brook.txt"), BUCKET["brook.txt"])

    async def test_its_source_is_a_good_one(self) -> None:
        size = 150_001
        expected = b"".join(b"%015d\n" % number for number in range(size // 16 + 1))[:size]
        with anyio.fail_after(20):
            await check_source(lambda: NumberedLines(size), expected)

    async def test_the_report_is_shown_in_the_browser_and_revalidates(self) -> None:
        response = await fetch(demo.app, "/report.pdf")
        assert response.headers["content-type"] == "application/pdf"
        assert response.headers["content-disposition"] == 'inline; filename="report.pdf"'
        assert response.body == REPORT
        known = {"if-none-match": response.headers["etag"]}
        assert (await fetch(demo.app, "/report.pdf", headers=known)).status == 304
        part = await fetch(demo.app, "/report.pdf", headers={"range": "bytes=-6"})
        assert (part.status, part.body) == (206, b"%%EOF\n")


def test_a_pdf_says_where_each_object_is() -> None:
    document = make_pdf(["one (1)", "back\\slash", "ä €"])
    start = int(document.split()[-2])
    head, count, *entries = document[start:].split(b"trailer")[0].splitlines()
    assert (head, count) == (b"xref", b"0 6")
    assert all(len(entry) == 19 for entry in entries)
    offsets = [int(entry.split()[0]) for entry in entries[1:]]
    for number, offset in enumerate(offsets, 1):
        assert document[offset:].startswith(b"%d 0 obj\n" % number)
    length = int(document.split(b"/Length ")[1].split()[0])
    assert document.split(b"stream\n")[1][length:] == b"\nend"
    assert b"(one \\(1\\)) Tj" in document
    assert b"(back\\\\slash) Tj" in document
    assert "(ä €) Tj".encode("cp1252") in document


@pytest.mark.anyio
class TestRoutes:
    async def test_the_drawing_is_a_png_that_grows_line_by_line(self) -> None:
        async with stream(demo.app, "/drawing.png") as client:
            assert client.headers["content-type"] == "image/png"
            chunks = [chunk async for chunk in client]
        assert len(chunks) > 50
        assert chunks[-1].at - chunks[0].at > 1
        width, height, pixels = decode_png(b"".join(chunks))
        assert (width, height) == (320, 200)
        assert pixels == b"".join(paint_waves(320, 200))

    async def test_the_melody_is_a_wav_file_of_the_size_it_says(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(melody, "PAUSE", 0)
        response = await fetch(demo.app, "/melody.wav")
        assert response.headers["content-type"] == "audio/wav"
        assert int(response.headers["content-length"]) == len(response.body)
        with wave.open(io.BytesIO(response.body)) as sound:
            assert (sound.getnchannels(), sound.getsampwidth()) == (1, 2)
            assert sound.getnframes() / sound.getframerate() == pytest.approx(
                len(melody.MELODY) * 0.16, 0.01
            )
            samples = struct.unpack(f"<{sound.getnframes()}h", sound.readframes(sound.getnframes()))
        assert max(map(abs, samples)) > 3000

    async def test_both_sides_of_the_race_send_the_same(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(race, "LINES", 500)
        ours = await fetch(demo.app, "/race/streamkit")
        theirs = await fetch(demo.app, "/race/starlette")
        assert ours.body == theirs.body
        assert ours.body.count(b"\n") == 500

    async def test_lines_come_one_by_one_from_a_thread(self) -> None:
        async with stream(demo.app, "/lines") as client:
            assert client.headers["content-type"] == "text/plain; charset=utf-8"
            assert client.headers["x-content-type-options"] == "nosniff"
            assert await anext(client) == b"line 1 of 20\n"
            second = await anext(client)
            assert second == b"line 2 of 20\n"
            assert second.at < 1

    async def test_tokens_come_20_a_second(self) -> None:
        async with stream(demo.app, "/tokens") as client:
            tokens = [await anext(client) for _ in range(11)]
        assert tokens[:3] == [b"Each ", b"of ", b"these "]
        assert tokens[10].at - tokens[0].at >= 0.45

    async def test_the_download_is_100_mb_under_its_name(self) -> None:
        received = 0
        async with stream(demo.app, "/megabytes.bin", record=False) as client:
            assert client.headers["content-length"] == "100000000"
            assert client.headers["content-type"] == "application/octet-stream"
            disposition = client.headers["content-disposition"]
            async for chunk in client:
                received += len(chunk)
        assert received == 100_000_000
        assert disposition.startswith("attachment; filename=")
        assert "filename*=UTF-8''hundert%20Megabyte%20f%C3%BCr%20%C3%96l.bin" in disposition

    async def test_the_archive_unpacks(self) -> None:
        response = await fetch(demo.app, "/archive.zip")
        assert response.headers["content-type"] == "application/zip"
        with zipfile.ZipFile(io.BytesIO(response.body)) as archive:
            assert archive.testzip() is None
            assert len(archive.namelist()) == 30
            assert archive.read("report-7.txt") == b"report 7\n" * 1000

    async def test_the_slow_file_is_closed_when_the_client_leaves(self) -> None:
        async with stream(demo.app, "/slow-file") as client:
            assert (await anext(client)).startswith(b'"""Live routes')
            assert (await fetch(demo.app, "/open-files")).body.startswith(b"open files: 1\n")
        report = (await fetch(demo.app, "/open-files")).body.decode()
        assert re.fullmatch(
            r"open files: 0\nlast outcome: disconnect after \d\.\d s, \d+ bytes sent\n", report
        )

    async def test_the_documentation_shows_each_media_type(self) -> None:
        paths = demo.app.openapi()["paths"]
        documented = [path for path in PATHS if path != "/objects/brook.txt"]
        types = {
            path: list(paths[path]["get"]["responses"]["200"]["content"]) for path in documented
        }
        assert types["/drawing.png"] == ["image/png"]
        assert types["/megabytes.bin"] == ["application/octet-stream"]
        assert types["/archive.zip"] == ["application/zip"]
        assert types["/slow-file"] == ["text/plain"]


def test_png_lines_are_complete_before_the_next_one_is_painted() -> None:
    painted: list[int] = []

    def lines() -> Any:
        for number in range(3):
            painted.append(number)
            yield bytes([number] * 6)

    chunks = encode_png(2, 3, lines())
    assert next(chunks).startswith(b"\x89PNG\r\n\x1a\n")
    assert painted == []
    deflated = next(chunks)[8:-4]
    assert painted == [0]
    assert zlib.decompressobj().decompress(deflated) == b"\0" + bytes(6)


def decode_png(data: bytes) -> tuple[int, int, bytes]:
    """The size and pixels of an RGB picture without filters; checks every checksum."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    chunks, position = [], 8
    while position < len(data):
        (length,) = struct.unpack_from(">I", data, position)
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, position + 8 + length)
        assert checksum == zlib.crc32(kind + body)
        chunks.append((kind, body))
        position += length + 12
    assert chunks[0][0] == b"IHDR"
    assert chunks[-1] == (b"IEND", b"")
    width, height = struct.unpack(">II", chunks[0][1][:8])
    lines = zlib.decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"))
    stride = 1 + 3 * width
    assert len(lines) == stride * height
    assert not any(lines[::stride])
    return width, height, b"".join(lines[y * stride + 1 : (y + 1) * stride] for y in range(height))
