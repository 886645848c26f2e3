"""Shutdown: open streams are told, have their grace, and hold no server."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from streamkit import (
    BodyCut,
    GraceExceeded,
    ServerSentEvent,
    Shutdown,
    SSEStreamingResponse,
    StreamingResponse,
    StreamOutcome,
    ZIPStreamingResponse,
    graceful_shutdown,
    iterate_writes,
)
from streamkit.asgi.listeners import Listeners
from streamkit.testing import fetch, stream
from tests.server import ROOT, Connection, serving, wait_for
from tests.test_servers import GRANIAN, HYPERCORN, UVICORN

GRACE = float(os.environ.get("GRACE", "1.0"))
FAREWELL = ServerSentEvent("back soon", event="bye", retry=1000)


async def ticks() -> AsyncIterator[str]:
    while True:
        yield "tick\n"
        await anyio.sleep(0.05)


def slow_ticks() -> Iterator[str]:
    while True:
        yield "tick\n"
        time.sleep(0.05)


async def silence() -> AsyncIterator[str]:
    yield "tick\n"
    await anyio.sleep_forever()


async def brief() -> AsyncIterator[str]:
    for number in range(10):
        yield f"{number}\n"
        await anyio.sleep(0.05)


async def flood() -> AsyncIterator[bytes]:
    while True:
        yield b"flood" * 1000


def write(file: Any) -> None:
    while True:
        file.write(b"tick\n")
        time.sleep(0.05)


def until_requested(shutdown: Shutdown) -> Iterator[str]:
    while not shutdown.requested:
        yield "tick\n"
        time.sleep(0.05)
    yield "bye\n"


def content(kind: str, shutdown: Shutdown) -> Response:
    match kind:
        case "async":
            return StreamingResponse(ticks())
        case "sync":
            return StreamingResponse(slow_ticks())
        case "silent":
            return StreamingResponse(silence())
        case "writes":
            return ZIPStreamingResponse(iterate_writes(write))
        case "events":
            return SSEStreamingResponse(ticks(), farewell=FAREWELL)
        case "sync-events":
            return SSEStreamingResponse(slow_ticks(), farewell=FAREWELL)
        case "brief":
            return StreamingResponse(brief())
        case "flood":
            return StreamingResponse(flood())
        case "asks":
            return StreamingResponse(until_requested(shutdown))
        case "plain-events":
            return SSEStreamingResponse(silence())
    raise AssertionError(kind)


def tell(outcome: StreamOutcome) -> None:
    print("closed:", outcome.reason, flush=True)


async def endpoint(request: Request) -> Response:
    if request.path_params["kind"] == "pid":
        return PlainTextResponse(str(os.getpid()))
    response = content(request.path_params["kind"], request.state.shutdown)
    response.on_close = tell  # type: ignore[attr-defined]
    return response


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    async with graceful_shutdown(GRACE) as shutdown:
        yield {"shutdown": shutdown}
    print("the lifespan has ended", flush=True)


app = Starlette(routes=[Route("/{kind}", endpoint)], lifespan=lifespan)

APP = "tests.test_shutdown:app"
BYE = b"event: bye\nretry: 1000\ndata: back soon\n\n"
ENDINGS = {"events": BYE, "sync-events": BYE, "brief": b"9\n", "asks": b"bye\n"}
ENDLESS = ["async", "sync", "silent", "writes"]
FAREWELLS = ["events", "sync-events"]
SERVERS = {
    "uvicorn-asyncio": [*UVICORN, "--loop=asyncio", APP],
    "uvicorn-uvloop": [*UVICORN, "--loop=uvloop", APP],
    "hypercorn-asyncio": [*HYPERCORN, "--workers=0", "--graceful-timeout=30", APP],
    # Its workers get no signal.
    "hypercorn-worker": [*HYPERCORN, "--workers=1", "--graceful-timeout=30", APP],
    # The grace comes first.
    "granian": [*GRANIAN, "--workers-kill-timeout=30", APP],
}


@pytest.mark.parametrize("server", SERVERS)
def test_a_hundred_open_streams_do_not_hold_a_server(server: str) -> None:
    kinds = [*ENDLESS, *FAREWELLS, "brief", "asks"]
    with serving(SERVERS[server]) as process, ExitStack() as stack:

        def opened(kind: str) -> Connection:
            connection = stack.enter_context(process.connect(f"/{kind}"))
            connection.receive_until(b"\r\n\r\n")
            return connection

        # One that was dropped holds granian now and then, which then waits in code of its own.
        stalled = [] if server == "granian" else [opened("flood") for _ in range(4)]
        connections = [(kind, opened(kind)) for kind in kinds * 12]
        process.process.send_signal(signal.SIGTERM)
        replies = [(kind, connection.read()) for kind, connection in connections]
        wait_for(lambda: process.process.poll() is not None, "the end of the server")
        log = process.log()
        assert not any(connection.read().complete for connection in stalled)
    for kind, reply in replies:
        assert (kind, reply.complete) == (kind, kind not in ENDLESS)
        assert reply.body.endswith(ENDINGS.get(kind, b"tick\n"))
    # Closed each, and once; by other means than the end of the process.
    assert Counter(re.findall("closed: ([a-z]+)", log)) == {
        "cancelled": 72 + len(stalled),
        "complete": 24,
    }
    assert "the lifespan has ended" in log


# Each stops after a few requests, which no signal tells it.
GUNICORN = ["gunicorn", "--bind=127.0.0.1:{port}", "--log-level=warning", "--max-requests=4"]
STOPPING = {
    "uvicorn-asyncio": [*SERVERS["uvicorn-asyncio"], "--limit-max-requests=4"],
    "uvicorn-uvloop": [*SERVERS["uvicorn-uvloop"], "--limit-max-requests=4"],
    "uvicorn-should-exit": ["tests.test_shutdown", "{port}"],
    "hypercorn-asyncio": [*SERVERS["hypercorn-worker"], "--max-requests=3"],
    "hypercorn-trio": [*SERVERS["hypercorn-worker"], "--max-requests=3", "--worker-class=trio"],
}
if find_spec("gunicorn"):
    # There is none for Windows.
    STOPPING |= {
        f"gunicorn-{name}": [*GUNICORN, f"--worker-class={worker}", APP]
        for name, worker in (("uvicorn", "uvicorn.workers.UvicornWorker"), ("asgi", "asgi"))
    }


def serve_until_it_should_exit(port: int) -> None:
    """Run uvicorn as a program does that has its own `Server`, until `/stop` is asked for."""
    import uvicorn

    async def stop(_: Request) -> Response:
        server.should_exit = True
        return PlainTextResponse("stopping")

    served = Starlette(routes=[Route("/stop", stop), Route("/{kind}", endpoint)], lifespan=lifespan)
    server = uvicorn.Server(uvicorn.Config(served, port=port, log_level="warning"))
    server.run()


@pytest.mark.parametrize("server", STOPPING)
def test_a_worker_that_stops_without_a_signal_ends_though_streams_are_open(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE", "0.3")
    kinds = ["silent", "sync", "plain-events", "events"]
    with serving(STOPPING[server]) as process, ExitStack() as stack:
        connections = []
        for kind in kinds:
            connection = stack.enter_context(process.connect(f"/{kind}"))
            connection.receive_until(b"tick")
            connections.append((kind, connection))
        if server == "uvicorn-should-exit":
            process.fetch("/stop")
        elif "hypercorn" not in server:
            # They count requests whose response has ended, and hypercorn those that begin.
            for _ in range(4):
                process.fetch("/pid")
        replies = {kind: connection.read() for kind, connection in connections}
        wait_for(lambda: "the lifespan has ended" in process.log(), "the end of the worker")
        log = process.log()
    assert {kind: reply.complete for kind, reply in replies.items()} == {
        "silent": False,
        "sync": False,
        "plain-events": True,
        "events": True,
    }
    assert replies["events"].body.endswith(BYE)
    assert log.count("closed: cancelled") == 4


RELOADED = """
from tests.test_shutdown import app as app
"""


def test_a_reload_ends_the_worker_though_streams_are_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE", "0.3")
    module = tmp_path / "reloaded.py"
    module.write_text(RELOADED)
    folders = [f"--app-dir={tmp_path}", f"--reload-dir={tmp_path}"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with (
        serving([*UVICORN, "--reload", *folders, "reloaded:app"]) as process,
        process.connect("/silent") as silent,
        process.connect("/plain-events") as events,
    ):
        pid = process.fetch("/pid").body
        for connection in (silent, events):
            connection.receive_until(b"tick")
        module.write_text(RELOADED * 2)
        assert events.read().complete
        assert not silent.read().complete
        assert process.fetch("/pid").body != pid
        assert "the lifespan has ended" in process.log()


async def tidy() -> AsyncIterator[str]:
    try:
        while True:
            yield "tick\n"
            await anyio.sleep(0.05)
    finally:
        print("cleanup begins", flush=True)
        await anyio.sleep(0.3)
        print("cleanup ends", flush=True)


unprepared = Starlette(routes=[Route("/", lambda _: StreamingResponse(tidy()))])
prepared = Starlette(routes=unprepared.routes, lifespan=lifespan)


@pytest.mark.parametrize(("app_name", "ends"), [("unprepared", False), ("prepared", True)])
def test_a_servers_own_timeout_leaves_cleanups_unfinished_where_the_app_has_no_graceful_shutdown(
    app_name: str, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE", "0.1")
    arguments = [*UVICORN, "--timeout-graceful-shutdown=1", f"tests.test_shutdown:{app_name}"]
    with serving(arguments) as process, process.connect("/") as connection:
        connection.receive_until(b"tick")
        process.process.send_signal(signal.SIGTERM)
        assert not connection.read().complete
        wait_for(lambda: process.process.poll() is not None, "the end of the server")
        log = process.log()
    assert "cleanup begins" in log
    assert ("cleanup ends" in log) == ends


def test_ctrl_c_is_noticed_as_well() -> None:
    with serving(SERVERS["uvicorn-asyncio"]) as process, process.connect("/events") as connection:
        connection.receive_until(b"tick")
        process.process.send_signal(signal.SIGINT)
        assert connection.read().body.endswith(BYE)
        wait_for(lambda: process.process.poll() is not None, "the end of the server")


DEFAULT_ACTION = """
import asyncio, os, signal
from streamkit import graceful_shutdown
from streamkit.testing import stream
from tests.test_shutdown import FAREWELL, silence
from streamkit import SSEStreamingResponse

async def main():
    async with graceful_shutdown(grace=30.0):
        async with stream(SSEStreamingResponse(silence(), farewell=FAREWELL)) as client:
            await anext(client)
            os.kill(os.getpid(), signal.SIGTERM)
            print((await client.read()).decode(), flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_what_would_have_ended_the_process_ends_it_after_the_streams() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFAULT_ACTION], capture_output=True, timeout=50, cwd=ROOT
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert b"data: back soon" in done.stdout


@asynccontextmanager
async def shutting_down(grace: float, content: Any, **options: Any) -> AsyncIterator[Any]:
    """An open stream that has sent something, in an app that may shut down; and its outcomes."""
    outcomes: list[StreamOutcome] = []
    response_class = options.pop("response_class", StreamingResponse)
    response = response_class(content, on_close=outcomes.append, **options)
    async with graceful_shutdown(grace) as shutdown, stream(response) as client:
        await anext(client)
        yield shutdown, client, outcomes


async def test_an_event_stream_says_farewell_and_ends_cleanly(anyio_backend: Any) -> None:
    options = {"response_class": SSEStreamingResponse, "farewell": FAREWELL}
    async with shutting_down(30.0, silence(), **options) as (shutdown, client, outcomes):
        shutdown.request()
        assert await client.read() == BYE
        await client.wait_closed()
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("cancelled", None)]


async def test_an_event_stream_without_a_farewell_ends_at_once(anyio_backend: Any) -> None:
    options = {"response_class": SSEStreamingResponse}
    async with shutting_down(30.0, silence(), **options) as (shutdown, client, outcomes):
        shutdown.request()
        assert await client.read() == b""
        assert client.complete
        await client.wait_closed()
    assert [(outcome.reason, outcome.error) for outcome in outcomes] == [("cancelled", None)]


async def test_what_was_ready_goes_out_before_the_farewell(anyio_backend: Any) -> None:
    async def events() -> AsyncIterator[str]:
        yield "first"
        shutdown.request()
        yield "second"
        await anyio.sleep_forever()

    response = SSEStreamingResponse(events(), farewell="bye")
    async with graceful_shutdown() as shutdown, stream(response) as client:
        body = await client.read()
    assert body.endswith(b"data: first\n\ndata: second\n\ndata: bye\n\n")


async def test_a_farewell_waits_for_no_thread(anyio_backend: Any) -> None:
    released = threading.Event()

    def events() -> Iterator[str]:
        yield "first"
        released.wait(30)

    options = {"response_class": SSEStreamingResponse, "farewell": "bye"}
    async with shutting_down(30.0, events(), **options) as (shutdown, client, _):
        shutdown.request()
        assert await client.read() == b"data: bye\n\n"
        released.set()


async def test_a_stream_that_ends_within_the_grace_is_whole(anyio_backend: Any) -> None:
    async with shutting_down(30.0, brief()) as (shutdown, client, outcomes):
        shutdown.request()
        assert (await client.read()).endswith(b"9\n")
        await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["complete"]


@pytest.mark.parametrize("content", [silence, ticks, slow_ticks, flood])
async def test_after_the_grace_a_stream_is_cut_and_closed(content: Any, anyio_backend: Any) -> None:
    async with shutting_down(0.05, content()) as (shutdown, client, outcomes):
        shutdown.request()
        with pytest.raises(BodyCut):
            await client.read()
        await client.wait_closed()
        assert not client.complete
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]
    assert isinstance(outcomes[0].error, GraceExceeded)


async def test_a_client_that_has_stalled_is_cut_as_well(anyio_backend: Any) -> None:
    async with shutting_down(0.05, flood()) as (shutdown, client, outcomes):
        client.stall()
        shutdown.request()
        await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]


async def test_a_cleanup_that_hangs_holds_no_shutdown(
    anyio_backend: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def hanging() -> AsyncIterator[str]:
        try:
            yield "tick\n"
            await anyio.sleep_forever()
        finally:
            await anyio.sleep(40)

    async with shutting_down(0.0, hanging()) as (shutdown, client, outcomes):
        shutdown.request()
        with anyio.fail_after(20):
            await client.wait_closed()
    assert [outcome.reason for outcome in outcomes] == ["cancelled"]
    assert "the content's cleanup took more than 0.5 seconds" in caplog.text


async def test_leaving_the_block_ends_the_streams(anyio_backend: Any) -> None:
    async with anyio.create_task_group() as group:
        outcomes: list[StreamOutcome] = []

        async def read() -> None:
            response = StreamingResponse(silence(), on_close=outcomes.append)
            async with stream(response) as client:
                with pytest.raises(BodyCut):
                    await client.read()

        async with graceful_shutdown(0.0):
            group.start_soon(read)
            await anyio.sleep(0.05)
        assert [outcome.reason for outcome in outcomes] == ["cancelled"]


async def test_a_stream_that_begins_during_the_shutdown_is_told_at_once(anyio_backend: Any) -> None:
    async with graceful_shutdown(30.0) as shutdown:
        shutdown.request()
        async with stream(SSEStreamingResponse(silence(), farewell="bye")) as client:
            assert (await client.read()).endswith(b"data: bye\n\n")


async def test_a_stream_that_begins_after_the_grace_is_refused(anyio_backend: Any) -> None:
    async with graceful_shutdown(0.0) as shutdown:
        shutdown.request()
        await shutdown.wait()
        await anyio.sleep(0.01)
        app = Starlette(routes=[Route("/", lambda _: StreamingResponse(silence()))])
        assert (await fetch(app)).status == 503


async def test_contents_can_look_and_wait_for_the_shutdown(anyio_backend: Any) -> None:
    async def waiting() -> AsyncIterator[str]:
        yield "waiting\n"
        await shutdown.wait()
        yield f"requested: {shutdown.requested}\n"

    async with graceful_shutdown(30.0) as shutdown:
        assert not shutdown.requested
        async with stream(StreamingResponse(waiting())) as client:
            await anext(client)
            await anyio.to_thread.run_sync(shutdown.request)
            assert await client.read() == b"requested: True\n"


async def test_signals_are_handled_as_before_and_restored(anyio_backend: Any) -> None:
    heard: list[int] = []

    def handle(number: int, frame: Any) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        async with graceful_shutdown(30.0) as shutdown:
            assert signal.getsignal(signal.SIGTERM) != handle
            signal.raise_signal(signal.SIGTERM)
            await shutdown.wait()
            assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == handle
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_handler_set_later_is_chained_by_the_next_stream(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        async with graceful_shutdown(30.0) as shutdown:
            signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await shutdown.wait()
                assert heard == [signal.SIGTERM]
                await client.disconnect()
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_later_handler_that_calls_the_one_before_goes_round_in_no_circle(
    anyio_backend: Any,
) -> None:
    heard: list[str] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append("first"))
    try:
        async with graceful_shutdown(30.0) as shutdown:
            ours: Any = signal.getsignal(signal.SIGTERM)

            def later(number: int, frame: Any) -> None:
                heard.append("later")
                ours(number, frame)

            signal.signal(signal.SIGTERM, later)
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await shutdown.wait()
                await client.disconnect()
            assert heard == ["later", "first"]
        assert signal.getsignal(signal.SIGTERM) is later
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_of_two_that_run_both_are_told(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        async with graceful_shutdown(30.0) as outer, graceful_shutdown(30.0) as inner:
            async with stream(StreamingResponse(ticks())) as client:
                await anext(client)
                signal.raise_signal(signal.SIGTERM)
                with anyio.fail_after(20):
                    await outer.wait()
                    await inner.wait()
                await client.disconnect()
            assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 2), (1, 0, 2), (1, 2, 0), (2, 0, 1)])
async def test_of_several_that_are_left_in_any_order_no_handler_stays(
    order: tuple[int, ...], anyio_backend: Any
) -> None:
    heard: list[int] = []

    def handle(number: int, frame: Any) -> None:
        heard.append(number)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        contexts = [graceful_shutdown(30.0) for _ in order]
        shutdowns = [await context.__aenter__() for context in contexts]
        for position, left in enumerate(order, 1):
            await contexts[left].__aexit__(None, None, None)
            open_ones = [shutdowns[index] for index in order[position:]]
            assert not any(shutdown.requested for shutdown in open_ones)
            assert (signal.getsignal(signal.SIGTERM) == handle) == (not open_ones)
        signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


LEFT_FIRST = """
import asyncio, os, signal
from streamkit import graceful_shutdown
from streamkit.testing import stream
from tests.test_shutdown import FAREWELL, silence
from streamkit import SSEStreamingResponse

async def main():
    first = graceful_shutdown(grace=30.0)
    await first.__aenter__()
    async with graceful_shutdown(grace=30.0):
        await first.__aexit__(None, None, None)
        async with stream(SSEStreamingResponse(silence(), farewell=FAREWELL)) as client:
            await anext(client)
            os.kill(os.getpid(), signal.SIGTERM)
            print((await client.read()).decode(), flush=True)
            await asyncio.sleep(60)

asyncio.run(main())
"""


def test_the_one_that_is_left_first_does_not_take_the_grace_of_the_other() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEFT_FIRST], capture_output=True, timeout=50, cwd=ROOT
    )
    assert done.returncode == -signal.SIGTERM, done.stderr
    assert b"data: back soon" in done.stdout


# servers that stop without a signal


def listening(family: str, folder: Path) -> tuple[socket.socket, Any, Any]:
    """A socket that listens, and the addresses of the server and of the client in a scope."""
    if family == "tcp":
        one = socket.create_server(("127.0.0.1", 0))
        return one, one.getsockname(), ("127.0.0.1", 5)
    one = socket.socket(socket.AF_UNIX)
    one.bind(str(folder / "socket"))
    one.listen()
    return one, (str(folder / "socket"), None), None


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there descriptors can't be listed")
@pytest.mark.parametrize("family", ["tcp", "unix"])
async def test_a_server_that_no_longer_listens_is_shutting_down(
    family: str, tmp_path: Path, anyio_backend: Any
) -> None:
    listener, server, client = listening(family, tmp_path)
    with listener:
        async with graceful_shutdown(30.0) as shutdown:
            response = SSEStreamingResponse(silence())
            async with stream(response, scope={"server": server, "client": client}) as opened:
                await anext(opened)
                with anyio.move_on_after(0.6):
                    await shutdown.wait()
                assert not shutdown.requested
                listener.close()
                with anyio.fail_after(20):
                    assert await opened.read() == b""
                assert shutdown.requested


async def test_a_server_whose_socket_is_not_found_is_no_stopped_one(anyio_backend: Any) -> None:
    async with graceful_shutdown(30.0) as shutdown, stream(StreamingResponse(silence())) as client:
        await anext(client)
        with anyio.move_on_after(0.6):
            await shutdown.wait()
        assert not shutdown.requested


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="there descriptors can't be listed")
def test_a_closed_listener_is_told_from_what_has_its_number_by_now(tmp_path: Path) -> None:
    listener, (_, port), _ = listening("tcp", tmp_path)
    second = listener.dup()
    listeners = Listeners(port)
    assert len(listeners) == 2
    listener.close()
    assert not listeners.closed()
    number = second.fileno()
    second.close()
    with (tmp_path / "file").open("wb") as file:
        os.dup2(file.fileno(), number)
        assert listeners.closed()
        os.close(number)
    assert not Listeners(port).closed()


async def test_an_ignored_signal_stays_ignored(anyio_backend: Any) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        async with graceful_shutdown():
            assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_somebody_elses_handler_is_not_overwritten_at_the_end(anyio_backend: Any) -> None:
    heard: list[int] = []
    before = signal.getsignal(signal.SIGTERM)
    try:
        async with graceful_shutdown():
            ours = signal.getsignal(signal.SIGTERM)

            def later(number: int, frame: Any) -> None:
                heard.append(number)

            signal.signal(signal.SIGTERM, later)
        assert callable(ours)
        assert signal.getsignal(signal.SIGTERM) is later
    finally:
        signal.signal(signal.SIGTERM, before)


def test_on_another_thread_no_signal_is_touched() -> None:
    before = signal.getsignal(signal.SIGTERM)

    async def main() -> None:
        async with graceful_shutdown() as shutdown:
            assert signal.getsignal(signal.SIGTERM) == before
            shutdown.request()
            await shutdown.wait()

    thread = threading.Thread(target=anyio.run, args=(main,))
    thread.start()
    thread.join()


@pytest.mark.parametrize("grace", [-1, float("nan")])
async def test_a_grace_that_makes_no_sense_is_refused(grace: float, anyio_backend: Any) -> None:
    with pytest.raises(ValueError, match="grace must be 0 or more seconds"):
        async with graceful_shutdown(grace):
            pass


if __name__ == "__main__":
    serve_until_it_should_exit(int(sys.argv[1]))
