"""Members that come from a store, an upload, or another server."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.responses import Response
from starlette.routing import Route

from streamkit import ByteSource, BytesSource, ObjectStoreSource
from streamkit.archives import Member, TARStreamingResponse
from streamkit.testing import fetch, stream
from tests.archives.members import NOISE, UNPACK, body_of, both

pytestmark = pytest.mark.anyio


@both
async def test_objects_of_a_store_are_members(response_class: Any, anyio_backend: Any) -> None:
    memory = pytest.importorskip("obstore.store").MemoryStore()
    memory.put("2026/noise", NOISE)
    memory.put("2026/empty", b"")
    members = [
        Member("noise", ObjectStoreSource(memory, "2026/noise")),
        Member("stored", ObjectStoreSource(memory, "2026/noise"), compress=False),
        Member("empty", ObjectStoreSource(memory, "2026/empty")),
    ]
    found = UNPACK[response_class](await body_of(response_class(members)))
    assert found == {"noise": NOISE, "stored": NOISE, "empty": b""}


@both
async def test_an_object_that_is_missing_is_told_before_the_status(response_class: Any) -> None:
    memory = pytest.importorskip("obstore.store").MemoryStore()
    with pytest.raises(FileNotFoundError):
        await fetch(response_class([Member("a", ObjectStoreSource(memory, "none"))]))


@both
@pytest.mark.parametrize("size", [10, 2_000_000], ids=["in memory", "on disk"])
async def test_uploads_are_members_and_are_closed(
    response_class: Any, size: int, anyio_backend: Any
) -> None:
    uploads = []
    for name in ("a.txt", "a.txt"):
        file: Any = tempfile.SpooledTemporaryFile(1 << 20)  # noqa: SIM115 (the response closes it)
        file.write(b"x" * size)
        file.seek(0)
        uploads.append(UploadFile(file, size=size, filename=name))
    members = [Member(each.filename or "unnamed", each) for each in uploads]
    found = UNPACK[response_class](await body_of(response_class(members, duplicates="rename")))
    assert found == {"a.txt": b"x" * size, "a (2).txt": b"x" * size}
    assert [each.file.closed for each in uploads] == [True, True]


def answer(request: Any) -> httpx.Response:
    if request.url.path != "/noise":
        return httpx.Response(502)
    return httpx.Response(200, content=[NOISE[:10], NOISE[10:]])


async def answer_async(request: Any) -> httpx.Response:
    async def chunks() -> AsyncIterator[bytes]:
        yield NOISE[:10]
        yield NOISE[10:]

    return httpx.Response(200 if request.url.path == "/noise" else 502, content=chunks())


@both
async def test_responses_of_httpx_are_members(response_class: Any, anyio_backend: Any) -> None:
    seen: list[httpx.Response] = []

    async def members() -> AsyncIterator[Member]:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer_async)) as client:
            for name in "ab":
                async with client.stream("GET", "https://example.com/noise") as response:
                    seen.append(response)
                    yield Member(name, response.aiter_bytes())

    found = UNPACK[response_class](await body_of(response_class(members())))
    assert found == {"a": NOISE, "b": NOISE}
    assert [each.is_closed for each in seen] == [True, True]


@both
async def test_responses_of_a_sync_client_are_members(response_class: Any) -> None:
    def members() -> Iterator[Member]:
        with httpx.Client(transport=httpx.MockTransport(answer)) as client:
            for name in "ab":
                with client.stream("GET", "https://example.com/noise") as response:
                    yield Member(name, response.iter_bytes())

    found = UNPACK[response_class](await body_of(response_class(members())))
    assert found == {"a": NOISE, "b": NOISE}


# httpx leaves its own generators to the garbage collector, and trio tells.
@pytest.mark.filterwarnings("ignore:Async generator 'httpx:ResourceWarning")
async def test_a_response_of_httpx_is_closed_when_the_client_leaves(anyio_backend: Any) -> None:
    seen: list[httpx.Response] = []
    opened = anyio.Event()

    async def endless(request: Any) -> httpx.Response:
        async def chunks() -> AsyncIterator[bytes]:
            while True:
                yield NOISE

        return httpx.Response(200, content=chunks())

    async def members() -> AsyncIterator[Member]:
        yield Member("first", NOISE * 10)
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(endless)) as client,
            client.stream("GET", "https://example.com/") as response,
        ):
            seen.append(response)
            opened.set()
            yield Member("second", response.aiter_bytes())

    # All of the first member, since nothing is sent of the second.
    async with stream(TARStreamingResponse(members()), read_ahead=20 * len(NOISE)) as client:
        await opened.wait()
        await client.disconnect()
        await client.wait_closed()
    assert seen[0].is_closed


@both
async def test_an_error_of_another_server_is_told_before_the_status(response_class: Any) -> None:
    async def members() -> AsyncIterator[Member]:
        async with (
            httpx.AsyncClient(transport=httpx.MockTransport(answer_async)) as client,
            client.stream("GET", "https://example.com/none") as response,
        ):
            response.raise_for_status()
            yield Member("a", response.aiter_bytes())

    async def unavailable(request: Any, error: Exception) -> Any:
        return Response(status_code=502)

    def endpoint(request: Any) -> Any:
        return response_class(members())

    app = Starlette(
        routes=[Route("/", endpoint)], exception_handlers={httpx.HTTPStatusError: unavailable}
    )
    assert (await fetch(app)).status == 502


class Closing(ByteSource):
    def __init__(self) -> None:
        self._inner = BytesSource(NOISE)
        self.closed = 0

    async def info(self) -> Any:
        return await self._inner.info()

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        return self._inner.read(start, end)

    async def aclose(self) -> None:
        self.closed += 1


@both
async def test_a_source_of_ones_own_is_a_member_and_closed_once(
    response_class: Any, anyio_backend: Any
) -> None:
    sources = [Closing(), Closing()]
    members = [Member(f"{n}", each, compress=False) for n, each in enumerate(sources)]
    found = UNPACK[response_class](await body_of(response_class(members)))
    assert found == {"0": NOISE, "1": NOISE}
    assert [each.closed for each in sources] == [1, 1]
