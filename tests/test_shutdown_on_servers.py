"""Shutdown on real servers: open streams hold none of them, with a signal or without one."""

from __future__ import annotations

import re
import signal
from collections import Counter
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.server import ROOT, Connection, serving, wait_for
from tests.shutdown_app import BYE
from tests.test_servers import GRANIAN, HYPERCORN, UVICORN

APP = "tests.shutdown_app:app"
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
    "uvicorn-should-exit": ["tests.shutdown_app", "{port}"],
    "hypercorn-asyncio": [*SERVERS["hypercorn-worker"], "--max-requests=3"],
    "hypercorn-trio": [*SERVERS["hypercorn-worker"], "--max-requests=3", "--worker-class=trio"],
}
if find_spec("gunicorn"):
    # There is none for Windows.
    STOPPING |= {
        f"gunicorn-{name}": [*GUNICORN, f"--worker-class={worker}", APP]
        for name, worker in (("uvicorn", "uvicorn.workers.UvicornWorker"), ("asgi", "asgi"))
    }


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
from tests.shutdown_app import app as app
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


@pytest.mark.parametrize(("app_name", "ends"), [("unprepared", False), ("prepared", True)])
def test_a_servers_own_timeout_leaves_cleanups_unfinished_where_the_app_has_no_graceful_shutdown(
    app_name: str, ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRACE", "0.1")
    arguments = [*UVICORN, "--timeout-graceful-shutdown=1", f"tests.shutdown_app:{app_name}"]
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
