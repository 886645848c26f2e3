"""What a real browser makes of events and of pictures that move: Chromium, without a window."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from streamkit import (
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
    last_event_id,
)

from .server import ROOT, Server, free_port, serving, wait_for

PATIENCE = 20_000  # milliseconds
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
EVENTS = 600
# Where readers of lines, of JSON and of UTF-8 have been seen to go wrong.
CHARACTERS = 'ab :;{}"\\\r\n\t\0\x0b\x0c\x1e\x85\xa0ö€\u2028\u2029\ufeff\uffff🐢'


class Dice(random.Random):
    """Values of all kinds, the same ones in the server and in the test."""

    def text(self, characters: str = CHARACTERS, least: int = 0) -> str:
        return "".join(self.choices(characters, k=self.randint(least, 12)))

    def line(self, least: int = 0) -> str:
        return self.text(CHARACTERS.replace("\r", "").replace("\n", "").replace("\0", ""), least)

    def data(self, depth: int = 2) -> Any:
        kinds: list[Callable[[], Any]] = [
            lambda: self.text(),
            lambda: self.randint(-(10**9), 10**9),
            lambda: self.choice([True, False, 0.5, ""]),
            lambda: [self.data(depth - 1) for _ in range(self.randint(0, 3))],
            lambda: {self.text(): self.data(depth - 1) for _ in range(self.randint(0, 3))},
        ]
        return self.choice(kinds if depth else kinds[:3])()

    def event(self) -> ServerSentEvent:
        return ServerSentEvent(
            self.choice([self.text(), self.data(), None]),
            event=self.choice([None, self.line(1)]),
            id=self.choice([None, self.line()]),
            comment=self.choice([None, None, self.text()]),
        )


def varied_events() -> list[ServerSentEvent]:
    dice = Dice(7)
    return [dice.event() for _ in range(EVENTS)]


def as_dispatched(events: list[ServerSentEvent]) -> list[list[Any]]:
    """What a browser is to dispatch for them (WHATWG HTML §9.2.6)."""
    expected, last_id = [], ""
    for event in events:
        last_id = last_id if event.id is None else event.id
        if event.data is not None:
            data = event.data
            if isinstance(data, str):
                data = data.replace("\r\n", "\n").replace("\r", "\n")
            else:
                data = ["json", data]
            expected.append([event.event or "message", data, last_id])
    return expected


def png(width: int) -> bytes:
    """A red square, `width` pixels wide."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = (b"\0" + b"\xff\0\0" * width) * width
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, width, 8, 2, 0, 0, 0)),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        )
    )


app = FastAPI()


@app.get("/", response_class=HTMLResponse)
def page() -> str:
    return "<title>formats</title>"


@app.get("/events", response_class=SSEStreamingResponse)
async def events() -> AsyncIterator[Any]:
    for event in varied_events():
        yield event
    yield ServerSentEvent("", event="the end")
    await anyio.sleep_forever()


@app.get("/count", response_class=SSEStreamingResponse)
async def count(request: Request) -> AsyncIterator[Any]:
    number = int(last_event_id(request) or 0)
    while True:
        number += 1
        yield ServerSentEvent(str(os.getpid()), id=str(number), retry=50)
        await anyio.sleep(0.005)


class Pictures(MultipartStreamingResponse):
    part_media_type = "image/png"


@app.get("/pictures", response_class=Pictures)
async def pictures() -> AsyncIterator[bytes]:
    # Again and again: a browser that is busy may miss a picture, but not all of them.
    while True:
        for width in (10, 20):
            yield png(width)
            await anyio.sleep(0.2)


COMMAND = ["uvicorn", "--log-level", "warning", "--port", "{port}", f"{__name__}:app"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(COMMAND) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(chromium).exists():
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=chromium, args=ARGUMENTS.split())
        yield launched
        launched.close()


@pytest.fixture
def tab(browser: Any) -> Iterator[Any]:
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


LISTEN = """types => new Promise(resolve => {
    const seen = [];
    const source = new EventSource("/events");
    const note = event => seen.push([event.type, event.data, event.lastEventId]);
    for (const type of types)
        source.addEventListener(type, note);
    source.addEventListener("the end", () => { source.close(); resolve(seen); });
})"""


def test_an_event_source_gives_every_event_as_it_was_sent(tab: Any, server: Server) -> None:
    expected = as_dispatched(varied_events())
    types = sorted({kind for kind, _, _ in expected})
    tab.goto(f"http://127.0.0.1:{server.port}/")

    seen = tab.evaluate(LISTEN, types)

    assert len(expected) > EVENTS / 2
    assert len(seen) == len(expected)
    for (kind, data, last_id), found in zip(expected, seen, strict=True):
        if isinstance(data, list):
            found[1], data = json.loads(found[1]), data[1]
        assert found == [kind, data, last_id]


@contextmanager
def process_on(port: int) -> Iterator[int]:
    """A server process, killed without a chance to say goodbye."""
    command = [sys.executable, "-m", *(part.format(port=port) for part in COMMAND)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


COUNT = """() => {
    window.seen = [];
    new EventSource("/count").onmessage = event =>
        window.seen.push([event.data, event.lastEventId]);
}"""


def test_a_browser_goes_on_where_it_was_after_the_server_was_killed(tab: Any) -> None:
    port = free_port()

    def seen_from(pid: int) -> None:
        tab.wait_for_function(
            "pid => seen.filter(([data]) => data === pid).length > 5", arg=str(pid)
        )

    with process_on(port) as first:
        wait_for(lambda: accepts(port), "the server")
        tab.goto(f"http://127.0.0.1:{port}/")
        tab.evaluate(COUNT)
        seen_from(first)
    with process_on(port) as second:
        seen_from(second)
        seen = tab.evaluate("seen")

    assert [int(number) for _, number in seen] == list(range(1, len(seen) + 1))
    assert {pid for pid, _ in seen} == {str(first), str(second)}


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_an_image_of_mixed_parts_moves(tab: Any, server: Server) -> None:
    tab.goto(f"http://127.0.0.1:{server.port}/")
    tab.set_content('<img src="/pictures">')

    tab.wait_for_function("document.images[0].naturalWidth === 10")
    tab.wait_for_function("document.images[0].naturalWidth === 20")
    assert tab.evaluate(PIXEL) == [255, 0, 0, 255]


PIXEL = """() => {
    const context = document.createElement("canvas").getContext("2d");
    context.drawImage(document.images[0], 0, 0);
    return [...context.getImageData(5, 5, 1, 1).data];
}"""


def leave(tab: Any) -> None:
    """Let go of the streams, for which a server that shuts down waits."""
    tab.goto("about:blank")


def test_the_example_of_moving_pictures_moves(tab: Any) -> None:
    with serving(["uvicorn", "--port", "{port}", "docs.examples.moving_pictures:app"]) as running:
        tab.goto(f"http://127.0.0.1:{running.port}/", wait_until="commit")
        tab.wait_for_function("document.images.length && document.images[0].naturalWidth === 200")
        first = tab.locator("img").screenshot()
        wait_for(lambda: tab.locator("img").screenshot() != first, "another picture")
        leave(tab)


def test_the_example_of_events_shows_its_ticks(tab: Any) -> None:
    with serving(
        ["uvicorn", "--port", "{port}", "docs.examples.server_sent_events:app"]
    ) as running:
        tab.goto(f"http://127.0.0.1:{running.port}/")
        tab.wait_for_function("document.getElementById('tick').textContent === '2'")
        leave(tab)
