"""Programs and libraries that ask for parts, against a real server that notes what they asked for.

Each one must get the bytes right, and show on the server's side that it did not fetch the whole.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit import FileStreamingResponse
from tests.server import Server, serving

SIZE = 12 << 20
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGE = '<!doctype html><video id="video" preload="auto" muted src="/film.mp4"></video>'


class Log:
    """Notes of every request: its path and Range, the status and how many bytes were sent."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.notes: list[dict[str, Any]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["path"] == "/log":
            notes, self.notes = self.notes, []
            await JSONResponse(notes)(scope, receive, send)
            return
        headers = {name.decode(): value.decode("latin-1") for name, value in scope["headers"]}
        note = {"path": scope["path"], "method": scope["method"], "sent": 0, "status": 0}
        note.update(range=headers.get("range"), if_range=headers.get("if-range"))
        self.notes.append(note)

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                note["status"] = message["status"]
            await send(message)
            note["sent"] += len(message.get("body", b""))

        await self.app(scope, receive, noting_send)


async def send_file(request: Request) -> Response:
    folder: Path = request.app.state.folder
    return FileStreamingResponse(folder / request.path_params["name"])


async def keep_file(request: Request) -> Response:
    """Take a file that the tests have made."""
    folder: Path = request.app.state.folder
    with (folder / request.path_params["name"]).open("wb") as file:
        async for chunk in request.stream():
            file.write(chunk)
    return Response(status_code=204)


async def show_page(request: Request) -> Response:
    return HTMLResponse(PAGE)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory() as name:
        app.state.folder = Path(name)
        (app.state.folder / "data").write_bytes(make_data())
        yield


def make_data() -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in range(SIZE // 4))


app = Log(
    Starlette(
        routes=[
            Route("/page", show_page),
            Route("/{name}", send_file, methods=["GET", "HEAD"]),
            Route("/{name}", keep_file, methods=["PUT"]),
        ],
        lifespan=lifespan,
    )
)


@dataclass
class Site:
    """The server, as these tests use it."""

    server: Server

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/{name}"

    def put(self, path: Path) -> str:
        """Publish a file; its URL."""
        connection = HTTPConnection("127.0.0.1", self.server.port, timeout=20)
        connection.request("PUT", f"/{path.name}", path.read_bytes())
        assert connection.getresponse().status == 204
        connection.close()
        self.notes(path.name)
        return self.url(path.name)

    def notes(self, name: str) -> list[dict[str, Any]]:
        """The requests for a file since this was last asked."""
        notes = json.loads(self.server.fetch("/log").body)
        return [note for note in notes if note["path"] == f"/{name}"]


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with serving(
        ["uvicorn", "--port={port}", "--log-level=warning", "tests.test_real_clients:app"]
    ) as server:
        yield Site(server)


@pytest.fixture(scope="module")
def data() -> bytes:
    return make_data()


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    # A proxy of the user's would stand between the two.
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, timeout=60, env=environment)
    assert not check or done.returncode == 0, (done.stdout + done.stderr).decode(errors="replace")
    return done


def partial(notes: list[dict[str, Any]]) -> list[str]:
    """The ranges that were answered with a 206."""
    return [note["range"] for note in notes if note["status"] == 206]


def test_curl_gets_a_range(site: Site, data: bytes) -> None:
    curl = program("curl")
    done = run(curl, "-s", "-i", "-r", "100-199", site.url("data"))
    head, _, body = done.stdout.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 206 Partial Content\r\n")
    assert f"content-range: bytes 100-199/{SIZE}".encode() in head
    assert body == data[100:200]
    assert partial(site.notes("data")) == ["bytes=100-199"]


def test_curl_gets_several_ranges(site: Site, data: bytes) -> None:
    curl = program("curl")
    done = run(curl, "-s", "-r", "0-9,500-509,-10", site.url("data"))
    for piece in (data[:10], data[500:510], data[-10:]):
        assert piece in done.stdout
    (note,) = site.notes("data")
    assert note["status"] == 206
    assert note["sent"] == len(done.stdout) < 1000


def test_curl_resumes_a_download(site: Site, data: bytes, tmp_path: Path) -> None:
    curl = program("curl")
    target = tmp_path / "data"
    target.write_bytes(data[: SIZE // 2])
    run(curl, "-s", "-f", "-C", "-", "-o", target, site.url("data"))
    assert target.read_bytes() == data
    assert partial(site.notes("data")) == [f"bytes={SIZE // 2}-"]


def test_curl_finds_a_download_complete(site: Site, data: bytes, tmp_path: Path) -> None:
    curl = program("curl")
    target = tmp_path / "data"
    target.write_bytes(data)
    run(curl, "-s", "-C", "-", "-o", target, site.url("data"), check=False)
    assert target.read_bytes() == data
    (note,) = site.notes("data")
    assert (note["range"], note["status"], note["sent"]) == (f"bytes={SIZE}-", 416, 0)


def test_curl_revalidates_by_etag(site: Site, data: bytes, tmp_path: Path) -> None:
    curl = program("curl")
    if b"--etag-save" not in run(curl, "--help", "all").stdout:
        pytest.skip("this curl knows no --etag-save")
    target, etag = tmp_path / "data", tmp_path / "etag"
    command = (curl, "-s", "--etag-compare", etag, "--etag-save", etag, "-o", target)
    etag.touch()
    for _ in range(2):
        run(*command, site.url("data"))
    assert target.read_bytes() == data
    answers = [(note["status"], note["sent"]) for note in site.notes("data")]
    assert answers == [(200, SIZE), (304, 0)]


def test_wget_resumes_a_download(site: Site, data: bytes, tmp_path: Path) -> None:
    wget = program("wget")
    (tmp_path / "data").write_bytes(data[:1_000_000])
    run(wget, "-q", "--no-config", "-c", "-P", tmp_path, site.url("data"))
    assert (tmp_path / "data").read_bytes() == data
    assert partial(site.notes("data")) == ["bytes=1000000-"]


def test_aria2_fetches_in_four_connections(site: Site, data: bytes, tmp_path: Path) -> None:
    aria2c = program("aria2c")
    run(
        aria2c, "--no-conf", "-q", "-x4", "-s4", "-k1M", "--allow-overwrite=true",
        "--file-allocation=none", "--disable-ipv6", "--async-dns=false",
        "-d", tmp_path, "-o", "data", site.url("data"),
    )  # fmt: skip
    assert (tmp_path / "data").read_bytes() == data
    notes = site.notes("data")
    assert len(partial(notes)) >= 3
    assert sum(note["sent"] for note in notes) < 2 * SIZE


@pytest.fixture(scope="module")
def mp4(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a test picture, with its index at the end, so that a player has to seek."""
    ffmpeg = program("ffmpeg")
    target = tmp_path_factory.mktemp("film") / "film.mp4"
    command = [
        ffmpeg, "-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=25", "-t", "60",
        "-c:v", "libx264", "-preset", "ultrafast", "-g", "25", "-pix_fmt", "yuv420p",
        # Without a constant bit rate, so simple a picture makes a file that is read at once.
        "-x264-params", "nal-hrd=cbr", "-b:v", "1500k", "-minrate", "1500k", "-maxrate", "1500k",
        "-bufsize", "1500k", target,
    ]  # fmt: skip
    if run(*command, check=False).returncode:
        pytest.skip("this ffmpeg can't encode H.264")
    return target


def test_ffprobe_seeks_to_the_index_at_the_end(site: Site, mp4: Path) -> None:
    ffprobe = program("ffprobe")
    url = site.put(mp4)
    size = mp4.stat().st_size
    done = run(ffprobe, "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url)
    assert float(done.stdout) == pytest.approx(60, abs=0.1)
    notes = site.notes(mp4.name)
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in partial(notes)]
    assert max(starts) > size * 0.9
    assert sum(note["sent"] for note in notes) < size


def test_a_browser_seeks_in_a_video(site: Site, mp4: Path) -> None:
    playwright = library("playwright.sync_api")
    chromium = program("chromium")
    site.put(mp4)
    size = mp4.stat().st_size
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=chromium, headless=True, args=CHROMIUM_FLAGS
        )
        try:
            page = browser.new_page()
            page.goto(site.url("page"))
            playable = page.evaluate("video.canPlayType('video/mp4; codecs=avc1.42E01E')")
            if not playable:
                pytest.skip("this chromium plays no H.264")
            page.wait_for_function("video.readyState >= 1")
            assert page.evaluate("video.duration") == pytest.approx(60, abs=0.1)
            site.notes(mp4.name)
            page.evaluate("video.currentTime = 50")
            page.wait_for_function("!video.seeking && video.readyState >= 2")
            assert page.evaluate("video.currentTime") == 50
            assert page.evaluate("video.seekable.end(0)") == pytest.approx(60, abs=0.1)
        finally:
            browser.close()
    notes = site.notes(mp4.name)
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in partial(notes)]
    assert any(size * 0.6 < start < size * 0.9 for start in starts), notes


def library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        pytest.skip(f"{name.partition('.')[0]} is not installed")


READ_ONE_COLUMN = """
import os
import sys

import fsspec
import pyarrow.parquet

with fsspec.open(sys.argv[1], cache_type="none") as file:
    table = pyarrow.parquet.read_table(file, columns=["small"], pre_buffer=False)
print(table.column_names, sum(table["small"].to_pylist()), flush=True)
# Threads of theirs abort the interpreter's own end now and then.
os._exit(0)
"""


def test_parquet_is_read_a_column_at_a_time(site: Site, tmp_path: Path) -> None:
    pyarrow = library("pyarrow")
    parquet = library("pyarrow.parquet")
    for name in ("fsspec", "aiohttp"):
        library(name)
    rows = 20_000
    table = pyarrow.table(
        {
            "large": [os.urandom(200) for _ in range(rows)],
            "small": list(range(rows)),
            "other": [os.urandom(200) for _ in range(rows)],
        }
    )
    path = tmp_path / "table.parquet"
    parquet.write_table(table, path)
    size = path.stat().st_size
    # In a process of its own: fsspec leaves a thread and a session behind.
    done = run(sys.executable, "-c", READ_ONE_COLUMN, site.put(path))
    assert done.stdout.decode().split("\n")[0] == f"['small'] {sum(range(rows))}"
    notes = site.notes(path.name)
    assert len(partial(notes)) >= 2
    assert sum(note["sent"] for note in notes) < size / 4
