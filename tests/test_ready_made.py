"""Content that other libraries made: each row of docs/how-to/content-of-other-libraries.md."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import httpx
import matplotlib.figure
import pandas
import pytest
import requests
import trio
import urllib3
from PIL import Image

from streamkit import (
    JSONLinesStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    ZipMember,
    ZIPStreamingResponse,
    iterate_writes,
)
from streamkit.testing import fetch, stream
from tests.upstream import OBJECT, TEXT, Upstream, object_store, upstream

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[1] / "docs/how-to/content-of-other-libraries.md"


@dataclass
class Made:
    """What a library gave, what it has to come to, and whether it is closed."""

    content: Any
    whole: bytes = TEXT
    is_closed: Callable[[], bool] = lambda: True


@dataclass
class Row:
    """A row of the table: what it is called there, how to make it, and where it works."""

    name: str
    make: Callable[[AsyncExitStack, str], Awaitable[Made]]
    backends: tuple[str, ...] = ("asyncio", "trio")
    # The path of an answer that never ends, for what comes from a server.
    endless: str | None = "events"
    has_cut: bool = True
    said: str = ""
    store: bool = field(default=False)


async def httpx_async(stack: AsyncExitStack, url: str) -> Made:
    client = await stack.enter_async_context(httpx.AsyncClient())
    response = await client.send(client.build_request("GET", url), stream=True)
    return Made(response, is_closed=lambda: response.is_closed)


async def httpx_sync(stack: AsyncExitStack, url: str) -> Made:
    client = stack.enter_context(httpx.Client())
    response = client.send(client.build_request("GET", url), stream=True)
    return Made(response, is_closed=lambda: response.is_closed)


async def of_requests(stack: AsyncExitStack, url: str) -> Made:
    session = stack.enter_context(requests.Session())
    response = session.get(url, stream=True, timeout=10)
    return Made(response, is_closed=lambda: response.raw.closed)


async def of_aiohttp(stack: AsyncExitStack, url: str) -> Made:
    session = await stack.enter_async_context(aiohttp.ClientSession())
    response = await session.get(url)
    return Made(response, is_closed=lambda: response.closed)


async def of_urllib(stack: AsyncExitStack, url: str) -> Made:
    response = await anyio.to_thread.run_sync(urllib.request.urlopen, url)
    stack.callback(response.close)
    return Made(response, is_closed=lambda: response.isclosed())


async def of_boto3(stack: AsyncExitStack, url: str) -> Made:
    import boto3

    client = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"])
    stack.callback(client.close)
    body = client.get_object(Bucket="files", Key="1")["Body"]
    return Made(body, OBJECT, lambda: bool(body._raw_stream.closed))


async def of_aiobotocore(stack: AsyncExitStack, url: str) -> Made:
    from aiobotocore.session import get_session

    making = get_session().create_client("s3", endpoint_url=os.environ["S3_ENDPOINT"])
    client = await stack.enter_async_context(making)
    body = (await client.get_object(Bucket="files", Key="1"))["Body"]
    return Made(body, OBJECT, lambda: bool(body.raw_stream.closed))


WRITES = [sys.executable, "-c", "print('line ' * 100000, end='', flush=True)"]
WRITTEN = b"line " * 100000
SILENT = [sys.executable, "-c", "print('one', flush=True); import time; time.sleep(600)"]


def ended(process: Any) -> Callable[[], bool]:
    return lambda: process.returncode is not None


def command_of(url: str) -> list[str]:
    return SILENT if url.endswith("events") else WRITES


def run(*command: str, **options: Any) -> subprocess.Popen[Any]:
    return subprocess.Popen(command, **{"stdout": subprocess.PIPE, **options})


async def popen(stack: AsyncExitStack, url: str) -> Made:
    process = run(*command_of(url))
    return Made(process, WRITTEN, ended(process))


async def of_asyncio(stack: AsyncExitStack, url: str) -> Made:
    command = command_of(url)
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    return Made(process, WRITTEN, ended(process))


async def of_anyio(stack: AsyncExitStack, url: str) -> Made:
    process = await anyio.open_process(command_of(url), stderr=None)
    return Made(process, WRITTEN, ended(process))


async def of_trio(stack: AsyncExitStack, url: str) -> Made:
    process = await trio.lowlevel.open_process(command_of(url), stdout=subprocess.PIPE)
    return Made(process, WRITTEN, ended(process))


async def figure(stack: AsyncExitStack, url: str) -> Made:
    return Made(matplotlib.figure.Figure())


async def image(stack: AsyncExitStack, url: str) -> Made:
    return Made(Image.new("RGB", (2, 2)))


async def frame(stack: AsyncExitStack, url: str) -> Made:
    return Made(pandas.DataFrame({"a": [1]}))


ONE = ("asyncio",)
ROWS = [
    Row("`httpx.Response` of an `AsyncClient`", httpx_async),
    Row("`httpx.Response` of a `Client`", httpx_sync),
    Row("`requests.Response`", of_requests),
    Row("`aiohttp.ClientResponse`", of_aiohttp, ONE),
    Row("`urllib.request.urlopen()`", of_urllib),
    Row("boto3's body", of_boto3, endless=None, store=True),
    Row("aiobotocore's body", of_aiobotocore, ONE, endless=None, store=True),
    Row("`subprocess.Popen`", popen, has_cut=False),
    Row("asyncio's `Process`", of_asyncio, ONE, has_cut=False),
    Row("anyio's `Process`", of_anyio, has_cut=False),
    Row("trio's `Process`", of_trio, ("trio",), has_cut=False),
    Row("matplotlib's `Figure`", figure, said="iterate_writes(lambda file: figure.savefig("),
    Row("Pillow's `Image`", image, said="iterate_writes(lambda file: image.save("),
    Row("`pandas.DataFrame`", frame, said="frame.to_dict('records')"),
]
WORKING = [row for row in ROWS if not row.said]
ENDLESS = [row for row in WORKING if row.endless]
CUT = [row for row in ENDLESS if row.has_cut]
REFUSED = [row for row in ROWS if row.said]


def test_the_table_of_the_page_has_these_rows() -> None:
    cells = [line.split(" | ")[0] for line in PAGE.read_text().splitlines() if line[:2] == "| "]
    assert [cell.removeprefix("| ") for cell in cells[1:]] == [row.name for row in ROWS]


@pytest.fixture(scope="module")
def server() -> Iterator[Upstream]:
    with upstream() as server:
        yield server


@pytest.fixture(scope="module")
def store() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, object_store(patch):
        yield


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def url(server: Upstream, row: Row, anyio_backend: Any, request: pytest.FixtureRequest) -> str:
    if anyio_backend[0] not in row.backends:
        pytest.skip(f"it is {' and '.join(row.backends)}'s")
    if row.store:
        request.getfixturevalue("store")
    server.left.clear()
    return server.url


def rows(chosen: list[Row]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row.make.__name__)


@rows(WORKING)
async def test_it_is_streamed_and_closed(row: Row, url: str, stack: AsyncExitStack) -> None:
    made = await row.make(stack, f"{url}/text")
    outcomes: list[StreamOutcome] = []
    with anyio.fail_after(20):
        got = await fetch(StreamingResponse(made.content, on_close=outcomes.append))
    assert (got.status, got.complete) == (200, True)
    assert got.body == made.whole
    assert outcomes[0].reason == "complete"
    assert made.is_closed()


# httpx leaves its own generators to the garbage collector, and trio tells.
@pytest.mark.filterwarnings("ignore:Async generator 'http:ResourceWarning")
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator object:")
@rows(ENDLESS)
async def test_it_is_closed_when_the_client_leaves(
    row: Row, url: str, stack: AsyncExitStack
) -> None:
    made = await row.make(stack, f"{url}/{row.endless}")
    outcomes: list[StreamOutcome] = []
    with anyio.fail_after(20):
        async with stream(StreamingResponse(made.content, on_close=outcomes.append)) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
    assert outcomes[0].reason == "disconnect"
    assert outcomes[0].error is None
    assert made.is_closed()
    del made
    # Now, while that is no error.
    gc.collect()


@rows(CUT)
async def test_what_is_cut_is_cut_again(row: Row, url: str, stack: AsyncExitStack) -> None:
    made = await row.make(stack, f"{url}/cut")
    with anyio.fail_after(20):
        try:
            got = await fetch(StreamingResponse(made.content))
        except (requests.exceptions.ChunkedEncodingError, aiohttp.ClientPayloadError):
            # It had nothing to give before it: no status is out then.
            pass
        else:
            assert got.error is not None
            assert not got.complete
    assert made.is_closed()


async def of_urllib3(stack: AsyncExitStack, url: str) -> Made:
    pool = stack.enter_context(urllib3.PoolManager())
    # It reads the body at once, unless it is told not to.
    response = pool.request("GET", url, timeout=10, retries=False)
    return Made(response, is_closed=lambda: response.closed)


@rows([Row("", of_urllib3), *(row for row in CUT if row.make is not of_urllib)])
async def test_what_was_read_already_is_sent(row: Row, url: str, stack: AsyncExitStack) -> None:
    made = await row.make(stack, f"{url}/text")
    match made.content:
        case httpx.Response(stream=httpx.AsyncByteStream()):
            await made.content.aread()
        case httpx.Response():
            made.content.read()
        case requests.Response():
            assert made.content.content
        case aiohttp.ClientResponse():
            await made.content.read()
    with anyio.fail_after(20):
        got = await fetch(StreamingResponse(made.content))
    assert (got.status, got.complete) == (200, True)
    assert got.body == made.whole
    assert made.is_closed()


@rows(WORKING)
async def test_it_is_a_member_of_an_archive(row: Row, url: str, stack: AsyncExitStack) -> None:
    made = await row.make(stack, f"{url}/text")
    with anyio.fail_after(20):
        got = await fetch(ZIPStreamingResponse([ZipMember("a", made.content)]))
    assert zipfile.ZipFile(io.BytesIO(got.body)).read("a") == made.whole
    assert made.is_closed()


@rows(CUT)
async def test_what_is_cut_is_no_whole_member(row: Row, url: str, stack: AsyncExitStack) -> None:
    made = await row.make(stack, f"{url}/cut")
    got = None
    errors = (OSError, IncompleteRead, aiohttp.ClientPayloadError, httpx.HTTPError)
    with anyio.fail_after(20):
        # Little was compressed before it: no status is out then.
        with contextlib.suppress(*errors):
            got = await fetch(ZIPStreamingResponse([ZipMember("a", made.content)]))
    assert got is None or not got.complete
    assert made.is_closed()


@rows(WORKING)
async def test_a_class_for_items_says_that_it_has_bytes(
    row: Row, url: str, stack: AsyncExitStack
) -> None:
    made = await row.make(stack, f"{url}/text")
    with pytest.raises(TypeError, match="streams items"):
        JSONLinesStreamingResponse(made.content)
    with anyio.fail_after(20):
        while not made.is_closed():  # noqa: ASYNC110
            await anyio.sleep(0.01)


@rows(REFUSED)
def test_what_is_written_says_how(row: Row) -> None:
    made = asyncio.run(row.make(AsyncExitStack(), ""))
    with pytest.raises(TypeError) as told:
        StreamingResponse(made.content)
    assert row.said in str(told.value)


@pytest.mark.parametrize("kind", ["figure", "image"])
async def test_what_is_written_is_streamed(kind: str) -> None:
    if kind == "figure":
        plot = matplotlib.figure.Figure()
        content = iterate_writes(lambda file: plot.savefig(file, format="png"))
    else:
        picture = Image.new("RGB", (2, 2))
        content = iterate_writes(lambda file: picture.save(file, "PNG"))
    got = await fetch(StreamingResponse(content))
    assert got.body.startswith(b"\x89PNG")
    assert got.body.endswith(b"IEND\xaeB`\x82")


def test_an_answer_of_s3_says_which_part_of_it_to_pass() -> None:
    class Body:
        def read(self) -> bytes:
            return b""

    with pytest.raises(TypeError, match="pass what it has as 'Body'"):
        StreamingResponse({"Body": Body(), "ETag": '"1"'})


async def test_a_response_that_was_read_already_is_streamed_too(server: Upstream) -> None:
    read = await anyio.to_thread.run_sync(httpx.get, f"{server.url}/text")
    got = await fetch(StreamingResponse(read))
    assert got.body == TEXT
    async with httpx.AsyncClient() as client:
        got = await fetch(StreamingResponse(await client.get(f"{server.url}/packed")))
    assert got.body == TEXT


# processes


def python(code: str, **options: Any) -> subprocess.Popen[Any]:
    return run(sys.executable, "-c", code, **options)


async def test_a_process_that_fails_is_a_cut() -> None:
    got = await fetch(StreamingResponse(python("print('half'); raise SystemExit(3)")))
    assert (got.body, got.complete) == (b"half\n", False)
    assert isinstance(got.error, subprocess.CalledProcessError)
    assert got.error.returncode == 3


async def test_a_process_that_fails_at_once_is_an_error_before_the_status() -> None:
    with pytest.raises(subprocess.CalledProcessError, match="status 3"):
        await fetch(StreamingResponse(python("raise SystemExit(3)")))


async def test_a_silent_process_is_killed_though_its_child_holds_the_pipe() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', %r])"
    child = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    process = python(code % child)
    with anyio.fail_after(20):
        async with stream(StreamingResponse(process)) as client:
            number = int(await anext(client))
            await client.disconnect()
            await client.wait_closed()
    assert process.returncode == -9
    # As the page says, it is not ours.
    os.kill(number, signal.SIGKILL)


@pytest.mark.parametrize("options", [{}, {"bufsize": 0}, {"text": True}], ids=str)
async def test_what_was_read_of_a_process_before_is_not_sent_again(options: Any) -> None:
    process = python("print('head'); print('body')", **options)
    if options == {"text": True}:
        expected = b"head\nbody\n"
    else:
        assert process.stdout is not None
        assert process.stdout.readline() == b"head\n"
        expected = b"body\n"
    got = await fetch(StreamingResponse(process))
    assert got.body == expected
    assert process.stdout is not None
    assert process.stdout.closed


async def test_the_pipes_of_a_process_are_closed() -> None:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = python("import sys; print(sys.stdin.readline())", **pipes)
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    got = await fetch(StreamingResponse(process))
    assert got.body == b"hello\n\n"
    assert process.stdin.closed
    assert process.stderr.closed


async def test_a_process_without_a_pipe_says_what_it_needs() -> None:
    with (
        python("", stdout=None) as process,
        pytest.raises(TypeError, match="start it with stdout=subprocess"),
    ):
        StreamingResponse(process)


async def test_a_process_whose_response_is_refused_is_killed() -> None:
    process = python("import time; time.sleep(600)")
    with pytest.raises(ValueError, match="max_buffer"):
        StreamingResponse(process, max_buffer=0)
    with anyio.fail_after(20):
        while process.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert process.returncode == -9
    assert process.stdout is not None
    with anyio.fail_after(20):
        while not process.stdout.closed:  # noqa: ASYNC110
            await anyio.sleep(0.01)


async def test_what_the_close_of_another_librarys_response_raises_is_told() -> None:
    class Response:
        async def iter_chunks(self, size: int) -> Any:
            yield b"chunk"

        def __aiter__(self) -> Any:
            raise AssertionError

        async def close(self) -> None:
            raise ConnectionError("it can't be closed")

    got = await fetch(StreamingResponse(Response()))
    assert (got.body, got.complete) == (b"chunk", False)
    assert str(got.error) == "it can't be closed"


async def test_an_error_in_closing_the_pipes_of_a_process_is_told() -> None:
    process = python("print('all')")
    stdout = process.stdout
    assert stdout is not None

    class Pipe:
        def close(self) -> None:
            raise OSError("it can't be closed")

    process.stdin = Pipe()  # type: ignore[assignment]
    got = await fetch(StreamingResponse(process))
    process.stdin = None
    assert (got.body, got.complete) == (b"all\n", False)
    assert str(got.error) == "it can't be closed"
    assert stdout.closed
