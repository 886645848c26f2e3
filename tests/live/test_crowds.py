"""Many readers of real servers: they leave and come back, or never read at all."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.live import MemoryLog
from tests.live.support import data, ids, running
from tests.live.test_processes import Serve, serve, url
from tests.server import Server, wait_for

__all__ = ["serve"]

READERS, ITEMS = 200, 60
BLOCK = re.compile(rb"([0-9a-f]+)\r\n")


def payload(raw: bytes) -> bytes:
    """What a client has of a chunked body that was cut anywhere."""
    found, at = b"", 0
    while size := BLOCK.match(raw, at):
        at = size.end() + int(size[1], 16)
        found += raw[size.end() : at]
        at += 2
    return found


async def read_some(server: Server, path: str, last: str, most: float) -> tuple[bytes, int]:
    """Read up to so many bytes of the answer, then drop the connection; the body, the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    header = f"Last-Event-ID: {last}\r\n" if last else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{header}\r\n".encode())
    raw = b""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        while status == 200 and len(raw) < most and not raw.endswith(b"\r\n0\r\n\r\n"):
            if not (more := await reader.read(4096)):
                break
            raw += more
    finally:
        writer.transport.abort()
    return payload(raw if most == float("inf") else raw[: int(most)]), status


async def follow(servers: list[Server], path: str, chance: random.Random) -> list[int]:
    """All events of a run, by a client whose connection is cut again and again."""
    seen: list[int] = []
    last = ""
    while True:
        body, status = await read_some(
            chance.choice(servers), path, last, chance.choice([0, 60, 500, 3000, 9000])
        )
        if status == 204:
            return seen
        assert status == 200
        # An event that is not whole is not there.
        whole = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
        seen += [item["n"] for item in data(whole)]
        last = [last, *ids(whole)][-1]
        await asyncio.sleep(chance.random() * 0.2)


def test_readers_that_leave_and_come_back_at_random_see_every_event_once(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A busy machine must not look like a producer that died.
    monkeypatch.setenv("LEASE", "10")
    servers = [serve(), serve()]
    httpx.post(url(servers[0], f"/begin/run?items={ITEMS}&pause=0.02")).raise_for_status()

    async def everybody() -> list[list[int]]:
        readers = (follow(servers, "/streams/run", random.Random(seed)) for seed in range(READERS))
        return await asyncio.wait_for(asyncio.gather(*readers), 60)

    assert asyncio.run(everybody()) == [list(range(ITEMS))] * READERS
    assert httpx.head(url(servers[1], "/streams/run")).headers["stream-state"] == "done"


@given(cuts=st.lists(st.integers(1, 400), max_size=30))
def test_wherever_a_body_is_cut_the_rest_follows(cuts: list[int]) -> None:
    async def main() -> None:
        async with running(MemoryLog()) as h:
            await h.done(*({"n": n} for n in range(20)))
            seen: list[int] = []
            last = ""
            for cut in [*cuts, 10**6]:
                answer = await h.get("/streams/run", **({"last_event_id": last} if last else {}))
                if answer.status == 204:
                    break
                body = answer.body[:cut]
                whole = body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""
                seen += [item["n"] for item in data(whole)]
                last = [last, *ids(whole)][-1]
            assert seen == list(range(20))

    asyncio.run(main())


def memory_of(server: Server) -> int:
    text = Path(f"/proc/{server.process.pid}/smaps_rollup").read_text()
    return int(re.findall(r"Pss_Anon:\s+(\d+)", text)[0])


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    opened: list[socket.socket] = []
    yield opened
    for one in opened:
        one.close()


@pytest.mark.skipif(not os.path.exists("/proc/self/smaps_rollup"), reason="memory as Linux has it")
def test_readers_that_never_read_cost_what_their_buffers_cost(
    serve: Serve, sockets: list[socket.socket]
) -> None:
    server, silent = serve(), 40
    # The history, 2 MiB, is there before anybody comes.
    publish = url(server, "/news?items=2500&size=2000")
    httpx.post(publish, timeout=60).raise_for_status()
    with httpx.stream("GET", url(server, "/news"), timeout=30) as reading:
        next(reading.iter_raw())
        before = memory_of(server)
        for _ in range(silent):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", server.port))
            one.sendall(b"GET /news HTTP/1.1\r\nHost: x\r\n\r\n")
            sockets.append(one)
        wait_for(lambda: memory_of(server) - before > 10 * silent, "the readers")
        for _ in range(3):
            httpx.post(publish, timeout=60).raise_for_status()
        grown = memory_of(server) - before
    # 15 MB went by. A reader holds a page, a chunk, and what uvicorn takes before it says stop.
    assert grown < silent * 512 + 10_000, f"{grown} KiB for {silent} readers"
