"""An app with every kind of content that has ranges, and what each response has of its own."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from streamkit import ByteSource, SourceInfo, StreamingResponse

DATA = bytes(range(256)) * 4
SIZE = len(DATA)
MODIFIED = datetime(2026, 6, 1, 12, 0, 0, 750_000, tzinfo=UTC)
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"
EARLIER = "Mon, 01 Jun 2026 11:59:59 GMT"
LATER = "Mon, 01 Jun 2026 12:00:01 GMT"


class Custom(ByteSource):
    def __init__(self, size: int | None = SIZE) -> None:
        self.size = size

    async def info(self) -> SourceInfo:
        return SourceInfo(self.size)

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = SIZE if end is None else end
        for at in range(start, stop, 100):
            yield DATA[at : min(at + 100, stop)]


class Unreadable(ByteSource):
    """Whoever gets a whole answer from it has not read it."""

    async def info(self) -> SourceInfo:
        return SourceInfo(SIZE)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        raise AssertionError("the source was read")


def spooled(folder: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 (the response owns it)
    file.write(DATA)
    return file


def zip_member(folder: Path) -> Any:
    archive = zipfile.ZipFile(folder / "archive.zip")
    return archive.open("member")


CONTENTS: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: folder / "file",
    "bytes": lambda folder: DATA,
    "bytes-io": lambda folder: io.BytesIO(DATA),
    "open-file": lambda folder: open(folder / "file", "rb"),  # noqa: SIM115
    "zip-member": zip_member,
    "spooled-file": spooled,
    "source": lambda folder: Custom(),
    "unreadable": lambda folder: Unreadable(),
    "unknown-size": lambda folder: Custom(None),
}
KINDS = list(CONTENTS)[:7]
READ_NEVER = "unreadable"

VALIDATORS: dict[str, Any] = {"etag": '"v7"', "last_modified": MODIFIED}
# What a response has of its own, by the name that the request gives.
RESPONSES: dict[str, dict[str, Any]] = {
    "both": VALIDATORS,
    "weak": {"etag": 'W/"v7"'},
    "dated": {"last_modified": MODIFIED},
    "bare": {},
    "own": {**VALIDATORS, "headers": {"ETag": '"own"', "Last-Modified": LATER, "Vary": "X"}},
    "no-ranges": {**VALIDATORS, "headers": {"Accept-Ranges": "none"}},
    "created": {**VALIDATORS, "status_code": 201},
    "described": {
        **VALIDATORS,
        "filename": "a.bin",
        "headers": {"Cache-Control": "max-age=60", "Content-Language": "de"},
    },
}


async def endpoint(request: Request) -> Response:
    given = RESPONSES[request.path_params["response"]]
    content = CONTENTS[request.path_params["content"]](request.app.state.folder)
    return StreamingResponse(content, media_type="application/x-data", **given)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory() as name:
        app.state.folder = folder = Path(name)
        (folder / "file").write_bytes(DATA)
        with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("member", DATA)
        yield


METHODS = ["GET", "HEAD", "POST"]
site = Starlette(
    routes=[Route("/{content}/{response}", endpoint, methods=METHODS)], lifespan=lifespan
)
sent: list[str] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The site, and at /sent the types of the messages of the last response."""

    async def noting_send(message: Message) -> None:
        sent.append(message["type"])
        await send(message)

    if scope["type"] == "http" and scope["path"] == "/sent":
        await JSONResponse(sent)(scope, receive, send)
        return
    sent.clear()
    await site(scope, receive, noting_send)
