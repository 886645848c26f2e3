"""Objects on a server of few words that breaks off and hangs; clients that leave; the exit."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse
from streamkit.errors import SourceError
from streamkit.objectstore import ObjectStoreSource
from streamkit.outcome import StreamOutcome
from streamkit.pagecache import READ_SIZE
from streamkit.testing import stream
from tests.s3 import running
from tests.server import wait_for

obstore = pytest.importorskip("obstore", reason="obstore is not installed")
from obstore.exceptions import GenericError  # noqa: E402
from obstore.store import HTTPStore  # noqa: E402

from tests.test_objectstore import DATA, NAME, ROOT, SIZE, get  # noqa: E402

pytestmark = pytest.mark.anyio


# a server of few words, which says, breaks off and waits as told


@dataclass
class Origin:
    """What a plain HTTP server does; it never heeds If-Match."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"'})
    # Bytes after which each body stops: the connection is closed, or stalls until `release`.
    stop_after: int = SIZE
    stalls: bool = False
    endless: bool = False
    release: threading.Event = field(default_factory=threading.Event)
    left: threading.Event = field(default_factory=threading.Event)
    ranges: list[str] = field(default_factory=list)
    on_get: Callable[[int], object] = lambda number: None

    def store(self, **options: Any) -> Any:
        # As if the retries that the store makes by itself were used up.
        retries = {"max_retries": 0, "retry_timeout": timedelta(0)}
        client = {"allow_http": True, **options}
        return HTTPStore.from_url(self.url, client_options=client, retry_config=retries)


class OriginHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    origin: Origin

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        origin = self.origin
        origin.ranges.append(self.headers.get("Range", ""))
        origin.on_get(len(origin.ranges))
        span = self.answer()
        try:
            self.wfile.write(DATA[span][: origin.stop_after])
            if origin.stalls:
                origin.release.wait(20)
            while origin.endless:
                self.wfile.write(bytes(65536))
        except OSError:
            origin.left.set()
        if origin.stop_after < SIZE or origin.endless:
            self.close_connection = True

    def answer(self) -> slice:
        span = slice(0, SIZE)
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            span = slice(int(asked[1]), int(asked[2]) + 1)
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {span.start}-{span.stop - 1}/{SIZE}")
        else:
            self.send_response(200)
        length = span.stop - span.start
        self.send_header("Content-Length", str(1 << 40 if self.origin.endless else length))
        for name, value in self.origin.headers.items():
            self.send_header(name, value)
        self.end_headers()
        return span


@pytest.fixture
def origin() -> Iterator[Origin]:
    handler = type("Handler", (OriginHandler,), {"origin": Origin()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    origin: Origin = handler.origin  # type: ignore[attr-defined]
    origin.url = f"http://127.0.0.1:{server.server_port}"
    with running(server):
        yield origin
        origin.release.set()
        origin.endless = False


@pytest.mark.parametrize(
    ("headers", "etag"),
    [
        ({}, None),
        ({"ETag": "bare"}, '"bare"'),
        ({"ETag": "W/bare"}, 'W/"bare"'),
        ({"ETag": '"a b"'}, None),
        ({"ETag": '"half'}, None),
        ({"ETag": 'a"b'}, None),
        ({"ETag": 'W/"1"', "Last-Modified": "Sat, 03 Feb 2001 04:05:06 GMT"}, 'W/"1"'),
        ({"Last-Modified": "Sat, 03 Feb 2001 04:05:06 GMT"}, None),
    ],
)
async def test_what_the_server_does_not_say_is_not_said(
    origin: Origin, headers: dict[str, str], etag: str | None
) -> None:
    origin.headers = headers

    response = await get(origin.store(), range="bytes=5-9")

    assert (response.status, response.body) == (206, DATA[5:10])
    assert response.headers.get("etag") == etag
    assert response.headers.get("last-modified") == headers.get("Last-Modified")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"ETag": '"1"'}, {"ETag": '"2"'}),
        ({"ETag": '"1"'}, {}),
        ({"ETag": 'W/"1"'}, {"ETag": 'W/"2"'}),
        (
            {"Last-Modified": "Sat, 03 Feb 2001 04:05:06 GMT"},
            {"Last-Modified": "Sat, 03 Feb 2001 04:05:07 GMT"},
        ),
    ],
)
async def test_a_change_is_seen_where_the_server_does_not_heed_if_match(
    origin: Origin, before: dict[str, str], after: dict[str, str]
) -> None:
    origin.headers = before
    origin.on_get = lambda number: number == 2 and setattr(origin, "headers", after)

    response = await get(origin.store(), range="bytes=0-9,600000-699999")

    assert (response.status, response.complete) == (206, False)
    assert isinstance(response.error, SourceError)


async def test_a_request_that_breaks_off_is_taken_up_where_it_stood(origin: Origin) -> None:
    origin.stop_after = 2 * READ_SIZE + 1000

    response = await get(origin.store())

    assert (response.body, response.complete) == (DATA, True)
    first, *others = origin.ranges
    starts = [int(asked.removeprefix("bytes=").removesuffix(f"-{SIZE - 1}")) for asked in others]
    assert first == ""
    assert len(starts) > 1
    assert all(late - early >= READ_SIZE for early, late in pairwise([0, *starts]))


async def test_a_request_outlives_the_timeout_of_the_store_while_the_client_is_slow(
    origin: Origin,
) -> None:
    origin.stop_after, origin.stalls = 3 * READ_SIZE, True

    response = await get(origin.store(timeout=timedelta(seconds=0.5)))

    assert (response.body, response.complete) == (DATA, True)
    assert len(origin.ranges) > 1


async def test_a_change_while_a_request_is_taken_up_again_cuts_the_body(origin: Origin) -> None:
    origin.stop_after = 2 * READ_SIZE
    origin.on_get = lambda number: number == 2 and origin.headers.update(ETag='"2"')

    response = await get(origin.store())

    assert (response.status, response.complete) == (200, False)
    assert READ_SIZE <= len(response.body) <= 2 * READ_SIZE
    assert DATA.startswith(response.body)
    assert isinstance(response.error, SourceError)


async def test_a_request_that_brings_nothing_is_not_repeated(origin: Origin) -> None:
    origin.stop_after = 0

    with pytest.raises(GenericError):
        await get(origin.store())
    assert origin.ranges == [""]


async def test_chunks_are_sent_before_the_object_has_arrived(origin: Origin) -> None:
    origin.stop_after, origin.stalls = READ_SIZE, True

    async with stream(StreamingResponse(ObjectStoreSource(origin.store(), NAME))) as client:
        with anyio.fail_after(5):
            assert await anext(client) == DATA[:READ_SIZE]
        await client.disconnect()
        origin.release.set()


# clients that leave


async def test_a_client_that_leaves_ends_the_request_to_the_store(origin: Origin) -> None:
    origin.endless = True
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(ObjectStoreSource(origin.store(), NAME), on_close=outcomes.append)

    async with stream(response) as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()

    assert [outcome.reason for outcome in outcomes] == ["disconnect"]
    await anyio.to_thread.run_sync(wait_for, origin.left.is_set, "the end of the request")


async def test_a_read_that_is_cancelled_ends_its_request_though_its_traceback_lives(
    origin: Origin,
) -> None:
    origin.endless = True
    source = ObjectStoreSource(origin.store(), NAME)
    size = (await source.info()).size
    kept: list[BaseException] = []

    with anyio.CancelScope() as scope:
        try:
            async for _ in source.read(0, size):
                scope.cancel()
        except BaseException as exc:
            kept.append(exc)
            raise

    assert kept
    await anyio.to_thread.run_sync(wait_for, origin.left.is_set, "the end of the request")


async def test_a_client_that_leaves_does_not_wait_for_a_store_that_hangs(origin: Origin) -> None:
    origin.stop_after, origin.stalls = READ_SIZE, True
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(ObjectStoreSource(origin.store(), NAME), on_close=outcomes.append)

    async with stream(response) as client:
        await anext(client)
        await client.disconnect()
        with anyio.fail_after(2):
            await client.wait_closed()
        assert not origin.release.is_set()
        origin.release.set()

    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("disconnect", None)]


# the process


# obstore's coroutines abort about every second run of this.
EXITING = """
import sys
import anyio, obstore
from obstore.store import MemoryStore
from streamkit.objectstore import ObjectStoreSource

async def main():
    store = MemoryStore()
    obstore.put(store, "film", bytes(1_000_000))
    for _ in range(20):
        source = ObjectStoreSource(store, "film")
        size = (await source.info()).size
        async for _ in source.read(0, size):
            pass
        await source.aclose()

anyio.run(main, backend=sys.argv[1])
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_interpreter_that_exits_right_after_a_read_is_not_aborted(backend: str) -> None:
    command = [sys.executable, "-c", EXITING, backend]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(4)
    ]
    for process in processes:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
