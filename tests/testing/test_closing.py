"""Whether what a response leaves open is found, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
import starlette.responses
from fastapi import Depends, FastAPI
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response

from streamkit import StreamingResponse, file_chunks
from streamkit.testing import check_closed, fetch, stream
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

ASYNCIO, UVLOOP, _ = BACKENDS


@pytest.fixture(autouse=True, scope="module")
def frozen() -> Iterator[None]:
    """Hide what other modules have brought to memory, which `check_closed` would look through."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"x" * 1_000_000)
    return path


def numbers() -> Generator[str, None, None]:
    number = 0
    while True:
        yield f"{number}\n"
        number += 1


async def ticks() -> AsyncGenerator[str, None]:
    while True:
        yield "tick\n"
        await anyio.sleep(0.001)


def opened(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from file_chunks(file)


async def nested() -> AsyncIterator[str]:
    # On trio a generator that is left to the collector before its end is warned of.
    async with aclosing(ticks()) as inner:
        async for tick in inner:
            yield tick


CONTENTS: list[Callable[[Path], Any]] = [
    lambda film: numbers(),
    lambda film: ticks(),
    lambda film: nested(),
    opened,
    lambda film: film.open("rb"),
    lambda film: film,
]


@pytest.mark.parametrize("make", CONTENTS)
async def test_what_a_client_leaves_behind_is_closed(
    make: Callable[[Path], Any], film: Path
) -> None:
    with check_closed():
        async with stream(StreamingResponse(make(film))) as client:
            await anext(client)


@pytest.mark.parametrize("make", CONTENTS)
async def test_what_nobody_reads_is_closed(make: Callable[[Path], Any], film: Path) -> None:
    with check_closed():
        async with stream(StreamingResponse(make(film)), wait_for_start=False) as client:
            await client.disconnect()


@pytest.mark.parametrize("make", CONTENTS[3:])
async def test_what_is_read_to_its_end_is_closed(make: Callable[[Path], Any], film: Path) -> None:
    with check_closed():
        assert len((await fetch(StreamingResponse(make(film)))).body) == 1_000_000


async def test_a_yielding_endpoint_behind_a_middleware_is_closed(film: Path) -> None:
    async def relay(request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)

    async def session() -> AsyncIterator[str]:
        yield "session"

    app = FastAPI()
    app.add_middleware(BaseHTTPMiddleware, dispatch=relay)

    @app.get("/", response_class=StreamingResponse)
    def endpoint(session: str = Depends(session)) -> Iterator[bytes]:
        yield from opened(film)

    with check_closed():
        async with stream(app) as client:
            await anext(client)


@pytest.mark.parametrize("anyio_backend", [ASYNCIO, UVLOOP])
async def test_what_only_the_garbage_collector_would_close_is_found(film: Path) -> None:
    with pytest.raises(AssertionError) as failed, check_closed():
        async with stream(starlette.responses.StreamingResponse(opened(film))) as client:
            await anext(client)

    assert "2 of what was opened here was not closed: " in str(failed.value)
    assert f"the file '{film}'" in str(failed.value)
    assert f"the generator opened() at {__file__}:" in str(failed.value)
    gc.collect()


async def test_a_generator_that_goes_on_is_found_where_it_stands() -> None:
    generator = numbers()
    found = pytest.raises(AssertionError, match=r"1 of .*the generator numbers\(\) at .*\.py:\d+$")
    with found, check_closed():
        next(generator)
    generator.close()


async def test_an_async_generator_that_goes_on_is_found() -> None:
    generator = ticks()
    found = pytest.raises(AssertionError, match=r"1 of .*the generator ticks\(\) at .*\.py:\d+$")
    with found, check_closed():
        await anext(generator)
    await generator.aclose()


@pytest.mark.parametrize("mode", ["rb", "r", "r+b", "wb"])
def test_a_file_that_is_open_is_found(film: Path, mode: str) -> None:
    left: list[IO[Any]] = []
    with pytest.raises(AssertionError, match=r"1 of .*the file '.*film.mp4'$"), check_closed():
        left.append(film.open(mode))
    left[0].close()


async def test_what_was_there_before_or_never_began_or_has_ended_is_nobodys_fault(
    film: Path,
) -> None:
    before, closed, file = numbers(), numbers(), film.open("rb")
    next(before)
    with check_closed():
        never, never_async, ended = numbers(), ticks(), iter([1])
        next(before)
        file.read(1)
        next(closed)
        closed.close()
        list(ended)
        tick = ticks()
        await anext(tick)
        await tick.aclose()
    assert never
    await never_async.aclose()
    before.close()
    file.close()


def test_a_failure_of_the_block_is_not_covered_up() -> None:
    generator = numbers()

    def begin_and_fail() -> None:
        next(generator)
        raise LookupError

    with pytest.raises(LookupError), check_closed():
        begin_and_fail()
    generator.close()


async def test_a_context_manager_that_is_left_is_no_open_generator() -> None:
    @contextmanager
    def manager() -> Iterator[None]:
        yield

    @asynccontextmanager
    async def async_manager() -> AsyncIterator[None]:
        yield

    with check_closed(), manager():
        async with async_manager():
            pass
