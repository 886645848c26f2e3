"""Descriptors of sources, in process: none is left open, none closed while a thread reads it."""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit import (
    PathSource,
    StreamingResponse,
    pagecache,
    stream_limiter,
)
from streamkit.testing import StreamClient, fetch, stream
from tests.descriptors import many_descriptors, opened_by
from tests.server import PATIENCE
from tests.test_source_faults import MEGABYTE, on_linux

Way = Callable[[StreamClient], Any]


async def read_all(client: StreamClient) -> None:
    await client.read()


async def read_one(client: StreamClient) -> None:
    await anext(client)


async def read_none(client: StreamClient) -> None:
    pass


@on_linux
@pytest.mark.anyio
@pytest.mark.parametrize("cached", [True, False], ids=["cached", "on threads"])
@pytest.mark.parametrize("opened", [False, True], ids=["path", "open file"])
@pytest.mark.parametrize(
    ("method", "fields", "way"),
    [
        pytest.param("GET", {}, read_all, id="the whole"),
        pytest.param("GET", {}, read_one, id="a client that leaves"),
        pytest.param("GET", {}, read_none, id="a client that takes nothing"),
        pytest.param("HEAD", {}, read_all, id="HEAD"),
        pytest.param("GET", {"range": "bytes=1-2,10-500000"}, read_all, id="ranges"),
        pytest.param("GET", {"range": "bytes=1-2,10-500000"}, read_one, id="leaving ranges"),
        pytest.param("GET", {"range": "bytes=9999999-"}, read_all, id="416"),
        pytest.param("GET", {"if-none-match": "*"}, read_all, id="304"),
        pytest.param("GET", {"if-match": '"x"'}, read_all, id="412"),
    ],
)
async def test_no_descriptor_is_left(
    method: str,
    fields: dict[str, str],
    way: Way,
    opened: bool,
    cached: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not cached:
        nothing_is_cached(monkeypatch)
    path = tmp_path / "file"
    path.write_bytes(bytes(MEGABYTE))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        content: Any = path.open("rb") if opened else path
        await StreamingResponse(content)(scope, receive, send)

    with anyio.fail_after(PATIENCE):
        async with stream(app, method=method, headers=fields) as client:
            await way(client)
    assert opened_by("self", tmp_path) == []


@on_linux
@pytest.mark.anyio
async def test_a_response_that_is_never_sent_leaves_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match="entity tag"):
        StreamingResponse(path.open("rb"), etag="no quotes")
    while opened_by("self", tmp_path):  # noqa: ASYNC110
        await anyio.sleep(0.001)
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="Not a regular file"):
        await PathSource(tmp_path / "fifo").info()
    assert opened_by("self", tmp_path) == []


def nothing_is_cached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(pagecache._kernel, "opens", False)
    patch.setattr(pagecache._kernel, "reads", False)


class Gate:
    """A blocking function that waits on its thread until it is let through."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.entered = self.inside = False
        self.open = threading.Event()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.entered = self.inside = True
        try:
            assert self.open.wait(PATIENCE)
            return self.function(*args, **kwargs)
        finally:
            self.inside = False


async def leave_inside(gate: Gate, client: StreamClient) -> None:
    """Leave while a thread is inside the gate, and let it through a moment later."""
    while not gate.entered:  # noqa: ASYNC110
        await anyio.sleep(0.001)
    await client.disconnect()
    await anyio.sleep(0.02)
    assert not client.closed
    gate.open.set()
    await client.wait_closed()
    assert not gate.inside


@on_linux
@pytest.mark.anyio
@pytest.mark.parametrize("call", ["open", "pread"])
async def test_a_client_that_leaves_while_a_cold_file_is_opened_or_read_leaves_no_descriptor(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_cached(monkeypatch)
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000)
    gate = Gate(getattr(os, call))
    monkeypatch.setattr(os, call, gate)
    options: Any = {"wait_for_start": False}
    with anyio.fail_after(PATIENCE):
        async with stream(StreamingResponse(path), **options) as client:
            await leave_inside(gate, client)
            assert opened_by("self", tmp_path) == []


@pytest.mark.anyio
async def test_a_file_is_not_closed_while_a_thread_reads_it() -> None:
    class File(io.BytesIO):
        closed_inside = False

        def close(self) -> None:
            self.closed_inside = gate.inside
            super().close()

    file = File(b"0123456789")
    gate = Gate(file.read)
    file.read = gate  # type: ignore[method-assign]
    options: Any = {"wait_for_start": False}
    with anyio.fail_after(PATIENCE):
        async with stream(StreamingResponse(file), **options) as client:
            await leave_inside(gate, client)
    assert file.closed
    assert not file.closed_inside


@on_linux
@pytest.mark.anyio
async def test_a_client_that_leaves_while_no_thread_is_free_waits_for_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_cached(monkeypatch)
    (tmp_path / "file").write_bytes(b"x")
    limiter = stream_limiter()
    tokens, limiter.total_tokens = limiter.total_tokens, 1
    options: Any = {"wait_for_start": False}
    with anyio.fail_after(PATIENCE):
        async with limiter, stream(StreamingResponse(tmp_path / "file"), **options) as client:
            await anyio.sleep(0.02)
            await client.disconnect()
            await client.wait_closed()
    limiter.total_tokens = tokens
    assert opened_by("self", tmp_path) == []


@pytest.mark.anyio
async def test_five_hundred_ranges_in_one_process(tmp_path: Path) -> None:
    path = tmp_path / "file"
    data = os.urandom(300_000)
    path.write_bytes(data)
    failures: list[int] = []

    async def fetch_range(number: int) -> None:
        start, end = number * 100, number * 600
        headers = {"range": f"bytes={start}-{end}"}
        response = await fetch(StreamingResponse(path), headers=headers)
        if (response.status, response.body) != (206, data[start : end + 1]):
            failures.append(number)

    with many_descriptors(), anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as group:
            for number in range(500):
                group.start_soon(fetch_range, number)
    assert failures == []
    if sys.platform == "linux":
        assert opened_by("self", tmp_path) == []
