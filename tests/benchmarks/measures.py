"""The ways to measure a side. Each takes a running server, the URL and the amount of work, and
gives figures by their name: one that ends in `/s` is better when higher, any other when lower."""

from __future__ import annotations

import os
import resource
import statistics
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from . import client, wrk
from .crowd import Crowd, SlowCrowd, pings_beside
from .samples import sample
from .servers import Server, start, start_redis

Figures = dict[str, float]
Measure = Callable[[Server, str, int], Figures]
T = TypeVar("T")

WATCHED_FOR = 2.0
TRICKLES_FOR = 1.0
FANS_FOR = 3.0
PINGS_FOR = 2.5
SLOW_FOR = 10.0


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


def small(connections: int, headers: str = "") -> Measure:
    """For `n` seconds, by wrk where it is installed: requests, and what each takes the server."""

    def measure(server: Server, url: str, n: int) -> Figures:
        def hammer(count: int) -> float:
            return client.hammer(
                server.address, url, connections=connections, requests=count, headers=headers
            )

        hammer(200)  # warms both up
        before = server.cpu()
        if wrk.PROGRAM:
            done, seconds = wrk.hammer(server.address, url, connections, n, headers)
        else:
            done, seconds = 0, 0.0
            while seconds < n:
                seconds += hammer(500)
                done += 500
        used = server.cpu() - before
        return {"requests/s": done / seconds, "µs/request": used * 1e6 / done}

    return measure


def trickle(server: Server, url: str, n: int) -> Figures:
    """`n` streams whose items come one by one: the processor time that each takes the server."""
    with Crowd(server.address, url, n) as crowd:
        crowd.wait_for_all()
        crowd.read(0.3)
        busy, items = used(server, crowd.read, TRICKLES_FOR)
    server.wait_until_idle(1)
    return {"µs/item": busy * 1e6 / max(items, 1)}


def fan_out(server: Server, url: str, n: int) -> Figures:
    """`n` readers of what is sent to all of them: processor time for each item that one gets."""
    with Crowd(server.address, url, n) as crowd:
        crowd.wait_for_all()
        crowd.read(0.5)
        busy, items = used(server, crowd.read, FANS_FOR)
    server.wait_until_idle(2)
    return {"µs/item": busy * 1e6 / max(items, 1)}


def replay(server: Server, url: str, n: int) -> Figures:
    """`n` items that are there before the one reader comes; what that adds to the peak."""
    client.fetch(server.address, f"/prepare/{n}")
    before = server.reset_peak()
    seconds = client.drain(server.address, url)
    return {"items/s": n / seconds, "MiB": (server.kib("VmHWM") - before) / 1024}


def over_redis(server: Server, url: str, n: int) -> Figures:
    """What passes between the publishing of each of `n` items and its arrival at a reader.

    The reader's server is another process than the publisher's, and both use one Redis.
    """
    with start_redis() as port, start("live:over_redis") as publisher, ThreadPoolExecutor(1) as one:
        found = one.submit(client.delays, server.address, f"/live-redis/{port}/{n}")
        time.sleep(0.5)
        client.fetch(publisher.address, f"/publish/{port}/{n}")
        parts = statistics.quantiles(found.result(), n=100, method="inclusive")
    return {"p50 ms": parts[49] * 1e3, "p99 ms": parts[98] * 1e3}


def bridge(server: Server, url: str, n: int) -> Figures:
    """The server times `n` items by itself; only the result travels."""
    return {"items/s": n / float(client.fetch(server.address, url))}


def compressed(headers: str) -> Measure:
    """One response of `n` rows in a coding: rows a second, and what a row takes on the way."""

    def measure(server: Server, url: str, n: int) -> Figures:
        seconds, size = client.drained(server.address, url, headers)
        return {"rows/s": n / seconds, "bytes/row": size / n}

    return measure


def latency(*, compressed: bool = False) -> Measure:
    """What is added to each of `n` items between its creation and its arrival at the client."""

    def measure(server: Server, url: str, n: int) -> Figures:
        if compressed:
            found = client.decoded_delays(server.address, url, "zstd, gzip")
        else:
            found = client.delays(server.address, url)
        parts = statistics.quantiles(found, n=100, method="inclusive")
        return {"p50 ms": parts[49] * 1e3, "p99 ms": parts[98] * 1e3}

    return measure


def slow_clients(server: Server, url: str, n: int) -> Figures:
    """`n` clients that take a byte a second: how many are left after 10 s, and a `/ping` meanwhile.

    Theirs is a stream without an end that has a `min_rate`.
    """
    client.fetch(server.address, "/ping")
    with SlowCrowd(server.address, url, n) as crowd:
        pings = pings_beside(crowd, server.address, "/ping", SLOW_FOR)
        left = float(client.fetch(server.address, "/open"))
    return {"left": left, "/ping p99 ms": p99(pings) * 1e3}


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
    return {"MB/s": n / 1e6 / seconds, "/ping p99 ms": p99(pings)}


def p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[98] if len(values) > 1 else 0.0


def idle(server: Server, url: str, n: int) -> Figures:
    """`n` streams that have sent an event and wait: the process's memory for each, and threads."""
    memory, threads = server.kib("Pss_Anon", "smaps_rollup"), server.kib("Threads")
    connections = client.hold(server.address, url, n)
    time.sleep(1)
    grown = server.kib("Pss_Anon", "smaps_rollup") - memory
    more = server.kib("Threads") - threads
    for connection in connections:
        connection.close()
    time.sleep(0.5)
    return {"KiB/stream": grown / n, "more threads": more}


def growth(server: Server, url: str, n: int) -> Figures:
    """`n` streams with a chunk a second each: memory, processor time, and a `/ping` beside them.

    The processor time that the server takes without streams is not theirs. What few streams need
    drowns in what the server takes by itself, and in the steps in which it asks for memory.
    """
    warm_up(server, url, "/ping")
    before = server.kib("Pss_Anon", "smaps_rollup")
    idle = used(server, time.sleep)[0] if 10 <= n < 1000 else 0.0  # of a thousand's, under 1 %
    figures: Figures = {}
    with Crowd(server.address, url, n) as crowd:
        crowd.wait_for_all()
        crowd.read(0.5)
        if n >= 100:
            figures["KiB/stream"] = (server.kib("Pss_Anon", "smaps_rollup") - before) / n
        if n >= 10:
            busy, chunks = used(server, crowd.read)
            figures["µs/chunk"] = (busy - idle) * 1e6 / max(chunks, 1)
        pings = pings_beside(crowd, server.address, "/ping", PINGS_FOR)
    server.wait_until_idle(20)
    return figures | {"/ping p99 ms": p99(pings) * 1e3}


def sync_growth(server: Server, url: str, n: int) -> Figures:
    """`n` sync generators that sleep a second before each chunk: what arrives of `n` chunks a
    second, memory, and a `def` endpoint beside them."""
    warm_up(server, url, "/sync-ping")
    before = server.kib("Pss_Anon", "smaps_rollup")
    with Crowd(server.address, url, n) as crowd:
        crowd.read(1.5)
        grown = server.kib("Pss_Anon", "smaps_rollup") - before
        chunks = crowd.read(WATCHED_FOR)
        pings = pings_beside(crowd, server.address, "/sync-ping", PINGS_FOR)
    server.wait_until_idle(20)
    memory = {"KiB/stream": grown / n} if n >= 100 else {}
    return {"chunks/s": chunks / WATCHED_FOR} | memory | {"def /ping p99 ms": p99(pings) * 1e3}


def warm_up(server: Server, url: str, ping: str) -> None:
    """A few streams that come and go, and room for as many open files as there may be."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Crowd(server.address, url, 3) as crowd:
        crowd.wait_for_all()
    client.fetch(server.address, ping)
    server.wait_until_idle(5)


def used(
    server: Server, watch: Callable[[float], T], seconds: float = WATCHED_FOR
) -> tuple[float, T]:
    """Processor seconds that the server takes meanwhile, and what `watch` says."""
    before = server.cpu()
    result = watch(seconds)
    return server.cpu() - before, result
