"""The same streams on every server: what is on the wire, and what the content is told."""

from __future__ import annotations

import functools
import itertools
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import NamedTuple
from uuid import uuid4

import anyio
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, Router

from streamkit import ResponseStart, StreamingResponse
from tests import http2
from tests.server import Server, serving, wait_for
from tests.versions import STARLETTE

UVICORN = ["uvicorn", "--port={port}", "--log-level=warning"]
HYPERCORN = ["hypercorn", "--bind=127.0.0.1:{port}", "--log-level=warning"]
GRANIAN = ["granian", "--interface=asgi", "--port={port}", "--no-ws", "--log-level=warning"]
# With a connection of HTTP/2 open it does not end by itself.
GRANIAN += ["--workers-kill-timeout=1"]
ANYCORN = ["anycorn", "--bind=127.0.0.1:{port}", "--log-level=warning"]
APP = "tests.test_servers:app"
SERVERS = {
    "uvicorn-h11-asyncio": [*UVICORN, "--http=h11", "--loop=asyncio", APP],
    "uvicorn-h11-uvloop": [*UVICORN, "--http=h11", "--loop=uvloop", APP],
    "uvicorn-httptools-asyncio": [*UVICORN, "--http=httptools", "--loop=asyncio", APP],
    "uvicorn-httptools-uvloop": [*UVICORN, "--http=httptools", "--loop=uvloop", APP],
    "uvicorn-zttp-asyncio": [*UVICORN, "--http=zttp", "--http2", "--loop=asyncio", APP],
    "hypercorn-asyncio": [*HYPERCORN, "--worker-class=asyncio", APP],
    "hypercorn-trio": [*HYPERCORN, "--worker-class=trio", APP],
    "anycorn-asyncio": [*ANYCORN, "--worker-class=asyncio", APP],
    "anycorn-trio": [*ANYCORN, "--worker-class=trio", APP],
    "granian-asyncio": [*GRANIAN, "--loop=asyncio", APP],
    "granian-uvloop": [*GRANIAN, "--loop=uvloop", APP],
}
# Those that speak HTTP/2 as well, without TLS to clients that know it.
HTTP2 = [
    "uvicorn-zttp-asyncio",
    "hypercorn-asyncio",
    "hypercorn-trio",
    "anycorn-asyncio",
    "granian-asyncio",
]
PLACES = ["/plain/sync", "/plain/async", "/behind/sync", "/behind/async"]
CASES = [(name, "h1", place) for name in SERVERS for place in PLACES]
OF_HTTP2 = [(name, "h2", place) for name in HTTP2 for place in ("/plain/sync", "/behind/async")]


class Wrong(NamedTuple):
    """What a server does wrong: a row of the table of servers."""

    server: str
    protocol: str
    test: str
    reason: str


WRONG = [
    Wrong(
        "uvicorn-zttp",
        "h2",
        "a_client_that_takes_nothing_is_waited_for",
        "uvicorn 0.54 on zttp 0.0.35 does not wait for a client that grants it no window: its "
        "buffer grows",
    ),
    Wrong(
        "hypercorn",
        "h2",
        "an_error_after_the_first_chunk_cuts_the_body",
        "hypercorn 0.18 neither ends nor resets a stream whose app has failed",
    ),
    Wrong(
        "anycorn",
        "h2",
        "an_error_after_the_first_chunk_cuts_the_body",
        "anycorn 0.20 does not reset a stream whose app has failed: its connection ends with the "
        "keep-alive, five seconds later",
    ),
    Wrong(
        "hypercorn",
        "h2",
        "a_client_that_takes_nothing_is_waited_for",
        "hypercorn 0.18 does not wait for a client that grants it no window: its buffer grows",
    ),
]

# What a content does, step by step: it yields bytes or a start, sleeps seconds, raises exceptions.
Step = bytes | ResponseStart | float | Exception


FLOOD = 5000
# How many chunks of a flood were made.
taken: Counter[str] = Counter()


def counted(steps: Iterable[Step], key: str) -> Iterator[Step]:
    for step in steps:
        taken[key] += 1
        yield step


def bytes_of_all_sizes() -> list[bytes]:
    source = random.Random(7)
    return [source.randbytes(size) for size in (1, 0, 70_000, 3, 300_000, *range(500))]


PLAYS: dict[str, Callable[[str], Iterable[Step]]] = {
    "all": lambda key: bytes_of_all_sizes(),
    "ticks": lambda key: itertools.cycle([b"tick\n", 0.01]),
    "silent": lambda key: itertools.cycle([b"tick\n", 0.2]),
    "flood": lambda key: counted(itertools.repeat(b"flood" * (FLOOD // 5)), key),
    "fails-late": lambda key: [b"first\n", 0.05, ValueError(f"late {key}")],
    "fails-in-a-burst": lambda key: [b"first\n", b"second\n", ValueError(f"late {key}")],
    "fails-early": lambda key: [ValueError(f"early {key}")],
    "not-found": lambda key: [HTTPException(404, f"no {key}")],
    **{
        str(status): lambda key, status=status: itertools.chain(  # type: ignore[misc]
            [ResponseStart(status)], itertools.cycle([b"tick\n", 0.01])
        )
        for status in (204, 205, 304)
    },
}

diary: defaultdict[str, list[str]] = defaultdict(list)


def play_sync(steps: Iterable[Step], entries: list[str]) -> Iterator[bytes | ResponseStart]:
    entries.append("opened")
    try:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                time.sleep(step)
            else:
                yield step
    finally:
        entries.append("closed")


async def play_async(
    steps: Iterable[Step], entries: list[str]
) -> AsyncIterator[bytes | ResponseStart]:
    entries.append("opened")
    try:
        for step in steps:
            if isinstance(step, Exception):
                raise step
            if isinstance(step, float):
                await anyio.sleep(step)
            else:
                yield step
    finally:
        await anyio.sleep(0.01)
        entries.append("closed")


async def endpoint(request: Request) -> StreamingResponse:
    key, params = request.query_params["key"], request.path_params
    entries, steps = diary[key], PLAYS[params["play"]](key)
    return StreamingResponse(
        play_sync(steps, entries) if params["flavour"] == "sync" else play_async(steps, entries),
        on_close=lambda outcome: entries.append(outcome.reason),
    )


async def read_diary(request: Request) -> JSONResponse:
    return JSONResponse(diary[request.query_params["key"]])


async def read_taken(request: Request) -> JSONResponse:
    return JSONResponse(taken[request.query_params["key"]])


class PassOn(BaseHTTPMiddleware):
    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


routes = [Route("/{flavour}/{play}", endpoint)]
app = Router(
    [
        Route("/diary", read_diary),
        Route("/taken", read_taken),
        Mount("/plain", Starlette(routes=routes)),
        Mount("/behind", Starlette(routes=routes, middleware=[Middleware(PassOn)])),
    ]
)


@pytest.fixture(scope="module")
def processes() -> Iterator[Callable[[str], Server]]:
    """Starts each server once, whatever it is spoken to."""
    with ExitStack() as stack:

        @functools.cache
        def start(name: str) -> Server:
            return stack.enter_context(serving(SERVERS[name]))

        yield start


def named(case: tuple[str, str, str]) -> str:
    return "-".join(case).replace("-/", " ")


@pytest.fixture(params=CASES + OF_HTTP2, ids=named)
def case(request: pytest.FixtureRequest) -> tuple[str, str, str]:
    name, protocol, _ = case = request.param
    of_zttp = "uvicorn.protocols.http.zttp_impl"
    module = of_zttp if "-zttp-" in name else name.partition("-")[0]
    pytest.importorskip(module, reason=f"{name} is not installed")
    for row in WRONG:
        if (
            name.startswith(row.server)
            and protocol == row.protocol
            and request.function.__name__ == f"test_{row.test}"
        ):
            pytest.skip(row.reason)
    return case


@pytest.fixture
def server(case: tuple[str, str, str], processes: Callable[[str], Server]) -> Server:
    name, protocol, _ = case
    server = processes(name)
    return server if protocol == "h1" else replace(server, client=http2.Connection)


@pytest.fixture
def place(case: tuple[str, str, str]) -> str:
    return case[2]


@pytest.fixture
def key() -> str:
    return uuid4().hex


def entries_of(server: Server, key: str) -> list[str]:
    """What happened to a content, as soon as its response has ended."""

    def look() -> list[str]:
        found = re.findall(r'"([\w-]+)"', server.fetch(f"/diary?key={key}").body.decode())
        return found if found and found[-1] not in ("opened", "closed") else []

    return wait_for(look, "the end of the response")


def made(server: Server, key: str) -> int:
    return int(server.fetch(f"/taken?key={key}").body)


def test_all_bytes_arrive(server: Server, place: str, key: str) -> None:
    reply = server.fetch(f"{place}/all?key={key}")
    assert (reply.status, reply.complete) == (200, True)
    assert reply.body == b"".join(bytes_of_all_sizes())
    assert entries_of(server, key) == ["opened", "closed", "complete"]


def test_chunks_arrive_as_they_are_made(server: Server, place: str, key: str) -> None:
    with server.connect(f"{place}/ticks?key={key}") as client:
        # It has no end: what arrives wasn't waited for.
        for _ in range(5):
            assert client.receive()
        assert b"tick" in client.raw


@pytest.mark.parametrize("play", ["ticks", "silent", "flood"])
def test_content_is_closed_when_the_client_leaves(
    server: Server, place: str, play: str, key: str
) -> None:
    start = server.log_size()
    with server.connect(f"{place}/{play}?key={key}") as client:
        client.receive_until(b"tick" if play != "flood" else b"flood")
    assert entries_of(server, key) == ["opened", "closed", "disconnect"]
    assert server.log(start) == ""


@pytest.mark.parametrize("play", ["fails-late", "fails-in-a-burst"])
def test_an_error_after_the_first_chunk_cuts_the_body(
    server: Server, place: str, play: str, key: str
) -> None:
    start = server.log_size()
    reply = server.fetch(f"{place}/{play}?key={key}")
    assert entries_of(server, key) == ["opened", "closed", "error"]
    assert_logged_once(server, start, f"late {key}")
    assert reply.status == 200
    assert reply.body.startswith(b"first\n")
    assert not reply.complete


@pytest.mark.parametrize("case", OF_HTTP2, ids=named, indirect=True)
def test_content_is_closed_when_the_client_resets_the_stream(
    server: Server, place: str, key: str
) -> None:
    start = server.log_size()
    with server.connect(f"{place}/ticks?key={key}") as client:
        client.receive_until(b"tick")
        client.reset()
        assert entries_of(server, key) == ["opened", "closed", "disconnect"]
    assert server.log(start) == ""


def test_a_client_that_takes_nothing_is_waited_for(server: Server, place: str, key: str) -> None:
    options = {"takes": False} if server.client is http2.Connection else {}
    with server.connect(f"{place}/flood?key={key}", **options) as client:
        client.receive_until(b"flood")

        def made_no_more() -> bool:
            before = made(server, key)
            time.sleep(0.1)
            return made(server, key) == before

        wait_for(made_no_more, "a pause of the content")
        # What the kernel takes for a client on the loopback, and the server's own buffers.
        assert made(server, key) * FLOOD < 32_000_000
    assert entries_of(server, key) == ["opened", "closed", "disconnect"]


def test_an_error_before_the_first_chunk_is_a_500(server: Server, place: str, key: str) -> None:
    start = server.log_size()
    reply = server.fetch(f"{place}/fails-early?key={key}")
    assert (reply.status, reply.complete) == (500, True)
    assert entries_of(server, key) == ["opened", "closed", "error"]
    assert_logged_once(server, start, f"early {key}")


def test_an_http_exception_before_the_first_chunk_has_its_status(
    server: Server, place: str, key: str
) -> None:
    start = server.log_size()
    reply = server.fetch(f"{place}/not-found?key={key}")
    assert (reply.status, reply.body, reply.complete) == (404, f"no {key}".encode(), True)
    assert entries_of(server, key) == ["opened", "closed", "error"]
    assert server.log(start) == ""


def test_head_sends_no_body_and_closes_what_it_began(server: Server, place: str, key: str) -> None:
    reply = server.fetch(f"{place}/ticks?key={key}", "HEAD")
    assert (reply.status, reply.complete) == (200, True)
    assert entries_of(server, key) == ["opened", "closed", "complete"]


@pytest.mark.parametrize("status", [204, 205, 304])
def test_content_that_decides_on_a_status_without_one_sends_nothing_behind_it(
    server: Server, place: str, status: int, key: str
) -> None:
    start = server.log_size()
    reply = server.fetch(f"{place}/{status}?key={key}")
    assert (reply.status, reply.body, reply.complete) == (status, b"", True)
    assert entries_of(server, key) == ["opened", "closed", "complete"]
    assert server.log(start) == ""


def assert_logged_once(server: Server, start: int, message: str) -> None:
    """The stream's own error, and nothing of how its body was cut."""
    wait_for(lambda: message in server.log(start), f"{message!r} in the log")
    log = server.log(start)
    if STARLETTE < (1, 3) and "Exception Group" in log:
        # Its BaseHTTPMiddleware shows the group as well that it takes an exception out of.
        return
    assert log.count(f"ValueError: {message}") == 1, log
    if "Unsupported ASGI message" in log or "_Unsendable" in log:
        # The words of granian and zttp for what they were sent behind a relay, and could not ask
        # for its reason, which is logged beside it.
        return
    assert log.count("Traceback (most recent call last)") == 1, log
    assert "During handling" not in log, log
    assert "direct cause" not in log, log
