from __future__ import annotations

import asyncio
import builtins
import csv
import io
import json
import logging
import re
import runpy
import shlex
import signal
import socket
import struct
import subprocess
import sys
import wave
import zipfile
import zlib
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

import streamkit
from streamkit import __main__
from streamkit.demo import app as demo
from streamkit.demo import lasting, melody, race
from streamkit.demo.cards import CARDS
from streamkit.demo.page import STATIC
from streamkit.demo.pdf import make_pdf
from streamkit.demo.png import encode_png, paint_waves
from streamkit.demo.record import KEPT, PlannedFailure
from streamkit.demo.seekable import BUCKET, FILM, REPORT, NumberedLines, StoredObject
from streamkit.demo.source import highlight
from streamkit.testing import check_source, fetch, stream
from tests.server import ROOT, Server, free_port, serving, wait_for

SHOWN = ["/drawing.png", "/tokens", "/slow-file", "/race/streamkit", "/firehose"]
SHOWN += [
    "/readings.jsonl",
    "/clock",
    "/lasting",
    "/counter",
    "/pictures",
    "/film.mp4",
    "/melody.wav",
    "/readings.csv",
]
SHOWN += ["/export.zip", "/gibibyte.bin", "/objects/brook.txt"]
SHOWN += ["/compressed.jsonl", "/limited"]
OTHERS = ["/lines", "/megabytes.bin", "/archive.zip", "/answer", "/report.pdf", "/open-files"]
PATHS = [*SHOWN, *OTHERS]


@pytest.fixture
def anyio_backend() -> str:
    """What uvicorn runs on, which serves the demo."""
    return "asyncio"


class Page(HTMLParser):
    """The tags, links and texts of a page; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        # What stands in <code>, and what stood in the last caption before it.
        self.sources: list[str] = []
        self.places: list[str] = []
        self._place = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)
        if tag == "code":
            self.sources.append("")
            self.places.append(self._place)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "code" in self._open:
            self.sources[-1] += data
        elif self._open[-1:] == ["figcaption"]:
            self._place = data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


async def fetch_page(app: ASGIApp, path: str = "/", host: str = "testserver") -> Page:
    response = await fetch(app, path, headers={"host": host})
    assert (response.status, response.complete) == (200, True)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.body.decode())


@pytest.mark.anyio
class TestIndexPage:
    async def test_links_every_live_route(self) -> None:
        page = await fetch_page(demo.app)
        links = [str(link["href"]) for link in page.attributes("a")]
        assert [f"/{link}" for link in links if not link.startswith("#")] == PATHS
        # The others lead to the cards.
        targets = {heading["id"] for heading in page.attributes("h2")}
        assert {link[1:] for link in links if link.startswith("#")} < targets

    async def test_shows_the_source_of_each_route_and_where_it_stands(self) -> None:
        page = await fetch_page(demo.app)
        for path in [*PATHS, "/race/starlette"]:
            route = path.replace("brook.txt", "{key}")
            [source] = [
                t for t in page.sources if re.match(rf'@\w+\.get\(\s*"{re.escape(route)}"', t)
            ]
            assert source.splitlines() == lines_at(place_before(source, page), source)

    async def test_shows_what_a_route_uses_as_well(self) -> None:
        page = await fetch_page(demo.app)
        for start in ("class NumberedLines(ByteSource)", "class StoredObject(ByteSource)"):
            [source] = [text for text in page.sources if text.startswith(start)]
            assert source.splitlines() == lines_at(place_before(source, page), source)
        assert any(text.startswith("class RecordedRoute(") for text in page.sources)

    async def test_shows_commands_for_the_host_that_was_asked(self) -> None:
        page = await fetch_page(demo.app, host="example.org:81")
        commands = [shlex.split(text) for text in page.sources if text.startswith("curl")]
        urls = [f"http://example.org:81{path}" for path in PATHS]
        assert [command[:3] for command in commands] == [["curl", "-N", url] for url in urls]
        # curl writes no binary to a terminal
        written = {command[2].rpartition("/")[2]: command[3:] for command in commands}
        assert written["drawing.png"] == ["--output", "drawing.png"]
        assert written["lines"] == written["clock"] == written["readings.jsonl"] == []

    async def test_a_hostile_host_stays_text(self) -> None:
        page = await fetch_page(demo.app, host="x';<script>alert(1)</script>")
        assert page.attributes("script") == [{"type": "module", "src": "static/gallery.js"}]

    async def test_works_under_another_path(self) -> None:
        app = Starlette(routes=[Mount("/demo", demo.app)])
        page = await fetch_page(app, "/demo/")
        assert {"href": "drawing.png"} in page.attributes("a")
        assert (await fetch(app, "/demo/static/gallery.js")).status == 200
        assert "curl -N http://testserver/demo/lines" in page.sources
        async with stream(app, "/demo/lines?play=mounted") as client:
            await anext(client)
            told = await first_event("/record")
        assert [s["path"] for s in told["streams"] if s["play"] == "mounted"] == ["/lines"]

    async def test_is_accessible_and_loads_nothing_from_elsewhere(self) -> None:
        page = await fetch_page(demo.app)
        assert page.attributes("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
            page.attributes("meta")
        )
        assert len(page.attributes("h1")) == len(page.attributes("main")) == 1
        headings = {h["id"] for level in ("h2", "h3") for h in page.attributes(level)}
        named = [*page.attributes("article"), *page.attributes("section")]
        assert {element["aria-labelledby"] for element in named} == headings
        # What scrolls sideways can be scrolled with the keyboard, and has a name.
        assert all(pre["tabindex"] == "0" and pre["aria-label"] for pre in page.attributes("pre"))
        assert [link["href"] for link in page.attributes("link")] == [
            "data:,",
            "static/gallery.css",
        ]
        # Nothing streams before somebody plays it.
        sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
        loaded = [source for source in sources if not source.startswith("data:")]
        assert loaded == ["static/gallery.js"]
        # Buttons of one name are told apart by the heading above them.
        buttons = [b for b in page.attributes("button") if b.get("id") != "theme"]
        assert {button["aria-describedby"] for button in buttons} < headings
        assert all(image["alt"] for image in page.attributes("img"))
        for tag in ("video", "audio", "canvas", "ol"):
            assert all(element["aria-label"] for element in page.attributes(tag))

    async def test_its_files_are_revalidated_and_nothing_else_is_served(self) -> None:
        for name, media_type in [("gallery.js", "text/javascript"), ("gallery.css", "text/css")]:
            file = await fetch(demo.app, f"/static/{name}")
            assert file.headers["content-type"] == f"{media_type}; charset=utf-8"
            assert file.headers["cache-control"] == "no-cache"
            known = {"if-none-match": file.headers["etag"]}
            assert (await fetch(demo.app, f"/static/{name}", headers=known)).status == 304
        for name in ("page.html", "..%2Fapp.py", "other.js"):
            assert (await fetch(demo.app, f"/static/{name}")).status == 404

    async def test_each_card_has_a_script(self) -> None:
        scripts = "".join(path.read_text("utf-8") for path in STATIC.glob("*.js"))
        assert all(f"export class {card.view} " in scripts for card in CARDS)


def place_before(source: str, page: Page) -> str:
    """The last `name.py:line` above a source."""
    return page.places[page.sources.index(source)]


def lines_at(place: str, source: str) -> list[str]:
    """As many lines as `source` has, from a place in the package."""
    name, line = place.split(":")
    lines = (Path(streamkit.__file__).parents[1] / name).read_text("utf-8").splitlines()
    return lines[int(line) - 1 :][: len(source.splitlines())]


def test_colours_leave_the_source_as_it_is() -> None:
    sources = [path.read_text("utf-8") for path in STATIC.parent.glob("*.py")]
    sources.append('f"{{{1 + 2}}} \\N{dagger} {x!r:>{w}}"  # <b>&amp;\n')
    for source in sources:
        html = highlight(source)
        assert "".join(Page(f"<pre>{html}</pre>").texts) == source
    assert highlight("def f(): return PNGStreamingResponse(0)", ["PNGStreamingResponse"]) == (
        '<span class="key">def</span> <span class="name">f</span>(): '
        '<span class="key">return</span> <span class="ours">PNGStreamingResponse</span>'
        '(<span class="num">0</span>)'
    )


async def first_event(path: str, last_id: str | None = None) -> Any:
    headers = {"last-event-id": last_id} if last_id else {}
    async with stream(demo.app, path, headers=headers) as client:
        return await next_event(client)


async def next_event(client: Any) -> Any:
    text = ""
    while not (found := re.search(r"id: (.+)\n(?:.+\n)*?data: (.+)\n\n", text)):
        text += (await anext(client)).decode()
    return json.loads(found[2]) | {"id": found[1]}


@pytest.mark.anyio
class TestRecord:
    async def test_tells_what_is_sent_and_how_it_ended(self) -> None:
        async with stream(demo.app, "/record") as page:
            assert (await next_event(page))["first"]
            async with stream(demo.app, "/tokens?play=mine") as client:
                await anext(client)
                told = await next_event(page)
                [entry] = told["streams"]
                assert sum(told["waiting"].values()) == 1
                assert (entry["path"], entry["play"], entry["status"]) == ("/tokens", "mine", 200)
                assert ["content-type", "text/plain; charset=utf-8"] in entry["headers"]
                assert entry["sent"] == sum(size for _, size in entry["marks"]) > 0
                assert entry["ended"] is None
            while entry["ended"] is None:
                told = await next_event(page)
                [entry] = told["streams"] or [entry]
            while told["waiting"]:
                told = await next_event(page)
        assert entry["ended"]["reason"] == "disconnect"
        assert entry["ended"]["bytes_sent"] == entry["sent"]

    async def test_tells_what_the_open_streams_wait_for(self) -> None:
        async with stream(demo.app, "/record") as page:
            assert (await next_event(page))["waiting"] == {}
            async with stream(demo.app, "/firehose", read_ahead=0) as client:
                await anext(client)
                client.stall()
                with anyio.fail_after(10):
                    while (await next_event(page))["waiting"] != {"client": 1}:
                        pass
                await client.disconnect()
                await client.wait_closed()

    async def test_tells_the_failure_behind_a_cut_body(self) -> None:
        response = await fetch(demo.app, "/tokens?fail=2&play=failing")
        assert not response.complete
        told = await first_event("/record")
        [ended] = [s["ended"] for s in told["streams"] if s["play"] == "failing"]
        assert ended["reason"] == "error"
        assert ended["error"] == "PlannedFailure('the model went away')"

    async def test_a_page_that_reconnects_hears_what_is_new(self) -> None:
        seen = await first_event("/record")
        await fetch(demo.app, "/report.pdf?play=new")
        told = await first_event("/record", seen["id"])
        assert not told["first"]
        assert [entry["play"] for entry in told["streams"]] == ["new"]

    async def test_an_id_from_before_a_restart_means_nothing(self) -> None:
        assert (await first_event("/record", "0-99999999"))["first"]
        assert (await first_event("/record", "nonsense"))["first"]

    async def test_keeps_a_bounded_number_of_streams(self) -> None:
        for _ in range(KEPT + 10):
            await fetch(demo.app, f"/report.pdf?play={'x' * 100}")
        told = await first_event("/record")
        assert len(told["streams"]) <= KEPT + 1
        assert max(len(entry["play"]) for entry in told["streams"]) <= 40
        assert all(len(entry["marks"]) == 0 for entry in told["streams"])

    async def test_is_no_part_of_itself(self) -> None:
        async with stream(demo.app, "/record"):
            told = await first_event("/record")
        assert all(entry["path"] != "/record" for entry in told["streams"])


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


@pytest.fixture(scope="module")
def served() -> Any:
    with serving(["streamkit", "--port={port}"]) as server:
        yield server


class TestCommand:
    def test_says_where_it_serves(self, served: Server) -> None:
        line = f"streamkit demo on http://127.0.0.1:{served.port}/ (Ctrl+C stops it)\n"
        wait_for(lambda: served.log() == line, "the first line")

    def test_shows_commands_that_work(self, served: Server) -> None:
        commands = Page(served.fetch("/").body.decode()).sources
        assert f"curl -N http://127.0.0.1:{served.port}/lines" in commands

    @pytest.mark.parametrize(
        "path",
        [
            "/lines",
            "/tokens",
            "/drawing.png",
            "/archive.zip",
            "/answer",
            "/readings.jsonl",
            "/pictures",
        ],
    )
    def test_chunks_arrive_over_time(self, served: Server, path: str) -> None:
        with served.connect(path) as client:
            while len(client.arrivals) < 4:
                assert client.receive()
        assert client.arrivals[-1] - client.arrivals[0] > 0.01

    def test_a_client_that_leaves_leaves_no_file_open(self, served: Server) -> None:
        with served.connect("/slow-file") as client:
            client.receive_until(b"Live routes")
            assert served.fetch("/open-files").body.startswith(b"open files: 1\n")
        wait_for(
            lambda: b"open files: 0\nlast outcome: disconnect" in served.fetch("/open-files").body,
            "the end of the response",
        )

    def test_says_in_one_line_that_the_port_is_taken(self, served: Server) -> None:
        ended = run("--port", str(served.port))
        assert ended.returncode == 1
        assert ended.stdout == ""
        assert ended.stderr == (
            f"streamkit: port {served.port} on 127.0.0.1 is taken; choose another with --port\n"
        )

    def test_says_in_one_line_that_an_address_is_not_here(self) -> None:
        ended = run("--host", "192.0.2.1", "--port", "0")
        assert ended.returncode == 1
        assert ended.stderr.startswith("streamkit: can't listen on 192.0.2.1 port 0: ")
        assert ended.stderr.count("\n") == 1

    @pytest.mark.parametrize(
        ("host", "message"),
        [
            ("127.0.0.1", "streamkit: port {} on 127.0.0.1 is taken; choose another with --port"),
            ("192.0.2.1", "streamkit: can't listen on 192.0.2.1 port {}: "),
        ],
    )
    def test_ends_before_it_starts_a_server(
        self, host: str, message: str, served: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["streamkit", "--host", host, "--port", str(served.port)])
        # It runs as a program here, not as the module that was imported above.
        monkeypatch.delitem(sys.modules, "streamkit.__main__")
        with pytest.raises(SystemExit) as caught:
            runpy.run_module("streamkit", run_name="__main__")
        assert str(caught.value.code).startswith(message.format(served.port))

    def test_logs_failures_but_not_those_that_were_meant(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def log_and_return(self: Any, sockets: list[socket.socket]) -> None:
            for error in (asyncio.CancelledError(), PlannedFailure(), ValueError("boom")):
                logging.getLogger("uvicorn.error").error("failed", exc_info=error)

        monkeypatch.setattr("uvicorn.Server.run", log_and_return)
        # uvicorn's configuration would keep its records to itself.
        monkeypatch.setattr("uvicorn.Config.configure_logging", lambda self: None)
        monkeypatch.setattr(logging.getLogger("uvicorn"), "propagate", True)
        __main__.main(["--port=0"])
        [record] = caplog.records
        assert record.exc_info
        assert isinstance(record.exc_info[1], ValueError)

    @pytest.mark.parametrize("port", ["-1", "65536", "http"])
    def test_refuses_what_is_no_port(self, port: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            __main__.main([f"--port={port}"])
        assert f"a port is a number from 0 to 65535, got '{port}'" in capsys.readouterr().err

    @pytest.mark.skipif(sys.platform == "win32", reason="signals")
    def test_ctrl_c_ends_it_quietly_with_a_stream_open(self) -> None:
        with serving(["streamkit", "--port={port}"]) as server:
            with server.connect("/tokens") as client:
                client.receive_until(b"Each")
                server.process.send_signal(signal.SIGINT)
                assert server.process.wait(10) == 0
            first, *rest = server.log().splitlines()
            assert first.startswith("streamkit demo on")
            assert rest == ["shutting down: cutting 1 open streams"]

    @pytest.mark.parametrize("missing", ["uvicorn", "fastapi"])
    def test_says_what_to_install_where_a_package_is_missing(
        self, missing: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in [name for name in sys.modules if name.startswith("streamkit.demo")]:
            monkeypatch.delitem(sys.modules, name)
        hide(missing, monkeypatch)
        with pytest.raises(SystemExit) as caught:
            __main__.main(["--port", str(free_port())])
        assert caught.value.code == (
            f"streamkit: the demo needs {missing}: pip install 'streamkit[demo]'"
        )

    @pytest.mark.parametrize(
        ("host", "url"), [("127.0.0.1", "http://127.0.0.1:"), ("::1", "http://[::1]:")]
    )
    def test_serves_on_the_address_it_is_given(
        self,
        host: str,
        url: str,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        def run_until_interrupted(self: Any, sockets: list[socket.socket]) -> None:
            assert sockets[0].getsockname()[0] == host
            raise KeyboardInterrupt

        if host == "::1" and not has_ipv6():
            pytest.skip("no IPv6 on this host")
        monkeypatch.setattr("uvicorn.Server.run", run_until_interrupted)
        __main__.main([f"--host={host}", "--port=0"])
        assert capsys.readouterr().out.startswith(f"streamkit demo on {url}")


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streamkit", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)


def hide(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make importing a module fail as if it were not installed."""
    real_import = builtins.__import__

    def refuse(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)
        return real_import(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", refuse)
