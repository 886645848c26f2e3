"""The ways to measure a side. Each takes a running server, the URL and the amount of work, and
gives figures by their name: one that ends in `/s` is better when higher, any other when lower."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable

from . import client
from .samples import sample
from .servers import Server

Figures = dict[str, float]
Measure = Callable[[Server, str, int], Figures]


def transfer(what: str, per: float = 1) -> Measure:
    """One response over one connection: `n / per` of something, such as lines, per second."""

    def measure(server: Server, url: str, n: int) -> Figures:
        return {f"{what}/s": n / per / client.drain(server.address, url)}

    return measure


def requests(connections: int, headers: str = "") -> Measure:
    """`n` requests over so many keep-alive connections."""

    def measure(server: Server, url: str, n: int) -> Figures:
        seconds = client.hammer(
            server.address, url, connections=connections, requests=n, headers=headers
        )
        return {"requests/s": n / seconds}

    return measure


def bridge(server: Server, url: str, n: int) -> Figures:
    """The server times `n` items by itself; only the result travels."""
    return {"items/s": n / float(client.fetch(server.address, url))}


def latency(server: Server, url: str, n: int) -> Figures:
    """What is added to each of `n` items between its creation and its arrival at the client."""
    parts = statistics.quantiles(client.delays(server.address, url), n=100, method="inclusive")
    return {"p50 ms": parts[49] * 1e3, "p99 ms": parts[98] * 1e3}


def memory(prepare: bool = False) -> Measure:
    """The growth of the server's peak (VmHWM) over what it held before, one download of `n` bytes.

    With `prepare` the server makes its content first, so that the content's own size is left out.
    """

    def measure(server: Server, url: str, n: int) -> Figures:
        if prepare:
            client.fetch(server.address, f"/prepare/{n}")
        before = server.reset_peak()
        client.drain(server.address, url)
        return {"MiB": (server.kib("VmHWM") - before) / 1024}

    return measure


def crowd(connections: int) -> Measure:
    """The same while so many clients download `n` bytes each, side by side."""

    def measure(server: Server, url: str, n: int) -> Figures:
        before = server.reset_peak()
        client.hammer(server.address, url, connections=connections, requests=connections)
        return {"MiB": (server.kib("VmHWM") - before) / 1024}

    return measure


def cold(server: Server, url: str, n: int) -> Figures:
    """A file dropped from the page cache, while somebody else asks for /ping every 5 ms."""
    with open(sample(n), "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    pings: list[float] = []
    done = threading.Event()

    def ping() -> None:
        while not done.wait(0.005):
            pings.append(client.hammer(server.address, "/ping", connections=1, requests=1) * 1e3)

    pinger = threading.Thread(target=ping)
    pinger.start()
    try:
        seconds = client.drain(server.address, url)
    finally:
        done.set()
        pinger.join()
    p99 = statistics.quantiles(pings, n=100, method="inclusive")[98] if len(pings) > 1 else 0.0
    return {"MB/s": n / 1e6 / seconds, "/ping p99 ms": p99}


def idle(server: Server, url: str, n: int) -> Figures:
    """`n` streams that have sent an event and wait: the process's memory for each, and threads."""
    memory, threads = server.kib("Pss", "smaps_rollup"), server.kib("Threads")
    connections = client.hold(server.address, url, n)
    time.sleep(1)
    grown = server.kib("Pss", "smaps_rollup") - memory
    more = server.kib("Threads") - threads
    for connection in connections:
        connection.close()
    time.sleep(0.5)
    return {"KiB/stream": grown / n, "more threads": more}
