"""Pictures that replace each other, read by what people watch cameras with: parts with and
without a Content-Length."""

from __future__ import annotations

import io
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from streamkit import MultipartStreamingResponse
from tests.browser import chromium
from tests.server import Server, serving

pytest.importorskip("uvicorn")

WIDTHS = [16, 32, 48]


def picture(width: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, 16), "red").save(file, "JPEG")
    return file.getvalue()


def pictures() -> Iterator[bytes]:
    """Each one twice, as it may be shown when the next one comes; the last one stays."""
    for width in WIDTHS:
        for _ in range(2):
            yield picture(width)
            time.sleep(0.02)
    while True:
        yield picture(WIDTHS[-1])
        time.sleep(0.02)


async def camera(request: Request) -> Response:
    return MultipartStreamingResponse(
        pictures(),
        part_media_type="image/jpeg",
        part_length=request.path_params["length"] == "with",
    )


async def page(request: Request) -> Response:
    return HTMLResponse(f"<!doctype html><img src='/camera/{request.path_params['length']}'>")


app = Starlette(routes=[Route("/camera/{length}", camera), Route("/page/{length}", page)])

by_length = pytest.mark.parametrize("length", ["with", "without"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(["uvicorn", "--port={port}", "--log-level=error", f"{__name__}:app"]) as server:
        yield server


def url(server: Server, length: str) -> str:
    return f"http://127.0.0.1:{server.port}/camera/{length}"


@by_length
def test_ffmpeg_reads_the_pictures(length: str, server: Server) -> None:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        pytest.skip("ffmpeg is not installed")
    source = ["-f", "mpjpeg", "-i", url(server, length), "-frames:v", "3"]
    made = ["-f", "image2pipe", "-c", "copy", "-"]
    got = subprocess.run(
        [ffmpeg, "-v", "error", *source, *made], capture_output=True, timeout=30, check=True
    )
    assert got.stdout == picture(16) + picture(16) + picture(32)


@by_length
def test_opencv_reads_the_pictures(length: str, server: Server) -> None:
    cv2: Any = pytest.importorskip("cv2")
    capture = cv2.VideoCapture(url(server, length), cv2.CAP_FFMPEG)
    try:
        assert capture.isOpened()
        worked, frame = capture.read()
        assert worked
        assert frame.shape[0] == 16
        assert frame.shape[1] in WIDTHS
    finally:
        capture.release()


@pytest.fixture(scope="module")
def tab() -> Iterator[Any]:
    with chromium() as browser:
        yield browser.new_page()


@by_length
def test_chromium_shows_the_pictures(length: str, tab: Any, server: Server) -> None:
    tab.goto(f"http://127.0.0.1:{server.port}/page/{length}", wait_until="commit")
    for width in WIDTHS:
        tab.wait_for_function("width => document.images[0]?.naturalWidth >= width", arg=width)
    tab.goto("about:blank")
