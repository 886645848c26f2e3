"""Limits and observers on real servers: what operators rely on when clients misbehave."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from uuid import uuid4

import pytest

from tests.server import Server, parse, serving, wait_for

pytest.importorskip("prometheus_client")
pytest.importorskip("opentelemetry.sdk")

from prometheus_client.parser import text_string_to_metric_families

APP = "tests.operate.app:app"
SERVERS = {
    "uvicorn": ["uvicorn", "--port={port}", "--log-level=error", APP],
    "hypercorn": ["hypercorn", "--bind=127.0.0.1:{port}", "--log-level=critical", APP],
    "granian": [
        *["granian", "--interface=asgi", "--port={port}", "--no-ws", "--log-level=critical"],
        APP,
    ],
}
SLOW = 40


@pytest.fixture(scope="module", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    with serving(SERVERS[request.param]) as server:
        yield server


@pytest.fixture
def key() -> str:
    return uuid4().hex


def told(server: Server, path: str) -> Any:
    return json.loads(server.fetch(path).body)


def outcomes(server: Server, key: str, count: int = 1) -> list[list[str]]:
    def look() -> list[list[str]]:
        found: list[list[str]] = told(server, f"/ended?key={key}")
        return found if len(found) >= count else []

    return wait_for(look, f"the end of {count} responses")


# limits


class SlowClient:
    """Takes a byte now and then; the window it grants is small."""

    def __init__(self, port: int, path: str) -> None:
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        self.raw = b""

    def take(self, count: int = 1) -> bytes:
        try:
            data = self.socket.recv(count)
        except ConnectionResetError:
            data = b""
        self.raw += data
        return data


def test_clients_below_the_rate_are_all_gone_and_the_server_answers_beside_them(
    server: Server, key: str
) -> None:
    with ExitStack() as stack:
        slow = [SlowClient(server.port, f"/streams/flood/min-rate?key={key}") for _ in range(SLOW)]
        for client in slow:
            stack.callback(client.socket.close)
            assert client.take()
        pings = 0

        def are_gone() -> bool:
            nonlocal pings
            for client in slow:
                client.take()
            assert server.fetch("/ping").body == b"pong"
            pings += 1
            return len(told(server, f"/ended?key={key}")) == SLOW

        wait_for(are_gone, "the end of all slow clients")
        assert outcomes(server, key, SLOW) == [["timeout", "ClientTooSlow"]] * SLOW
        assert pings > 1
        # Honest on the wire: a client that reads on after all finds a body without an end.
        last = slow[0]
        while last.take(65536):
            pass
        assert not parse(last.raw).complete


@pytest.mark.parametrize("content", ["flood", "ticks"])
def test_a_client_that_takes_all_stays_whatever_the_rate(
    content: str, server: Server, key: str
) -> None:
    with server.connect(f"/streams/{content}/min-rate?key={key}") as client:
        while len(client.raw) < (5_000_000 if content == "flood" else 500):
            assert client.receive()
    assert outcomes(server, key)[0][0] == "disconnect"


def test_a_deadline_cuts_a_stream_that_flows(server: Server, key: str) -> None:
    reply = server.fetch(f"/streams/ticks/deadline?key={key}")
    assert (reply.status, reply.complete) == (200, False)
    assert outcomes(server, key) == [["timeout", "DeadlineExceeded"]]


def test_what_finds_no_place_is_a_503_and_runs_nothing(server: Server, key: str) -> None:
    path = f"/streams/ticks/limit?key={key}"
    with server.connect(path) as client:
        client.receive_until(b"tick")
        runs = told(server, "/runs")
        reply = server.fetch(path)
        assert (reply.status, reply.complete) == (503, True)
        assert reply.headers["retry-after"] == "3"
        assert told(server, "/runs") == runs
        assert outcomes(server, key) == [["error", "HTTPException"]]
    assert outcomes(server, key, 2)[1] == ["disconnect", ""]
    with server.connect(path) as client:
        client.receive_until(b"tick")


def test_a_rate_is_kept_to_in_small_pieces(server: Server, key: str) -> None:
    with server.connect(f"/streams/flood/max-rate?key={key}") as client:
        client.receive_until(b"\r\n\r\n")
        sizes = [len(client.receive()) for _ in range(3)]
    # A tenth of a second's bytes, or two that came together.
    assert max(sizes) < 3 * 20_000
    outcomes(server, key)


# observers


def samples(server: Server) -> dict[str, float]:
    """The text that Prometheus scrapes, summed over all labels but the route and the reason."""
    found: dict[str, float] = {}
    text = server.fetch("/metrics/").body.decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            name = f"{sample.name} {labels.get('http_route', '')} {labels.get('reason', '')}"
            found[name.strip()] = found.get(name.strip(), 0) + sample.value
    return found


ROUTE = "/streams/{content}/{limit}"


def test_prometheus_scrapes_what_has_happened(server: Server, key: str) -> None:
    before = samples(server)
    path = f"?key={key}"
    server.fetch(f"/streams/few/none{path}")
    server.fetch(f"/streams/failing/none{path}")
    with server.connect(f"/streams/ticks/none{path}") as client:
        client.receive_until(b"tick")
        assert samples(server)["http_server_active_requests"] >= 1
    outcomes(server, key, 3)

    def added(name: str) -> float:
        return samples(server).get(name, 0) - before.get(name, 0)

    assert added(f"streamkit_ended_total {ROUTE} complete") == 1
    assert added(f"streamkit_ended_total {ROUTE} error") == 1
    wait_for(lambda: added(f"streamkit_ended_total {ROUTE} disconnect") == 1, "the disconnect")
    assert added(f"http_server_request_duration_seconds_count {ROUTE}") == 3
    assert added(f"streamkit_first_byte_seconds_count {ROUTE}") == 3
    assert added(f"http_server_response_body_size_bytes_sum {ROUTE}") >= 25
    assert samples(server)["http_server_active_requests"] == 0


def test_opentelemetry_exports_what_has_happened(server: Server, key: str) -> None:
    server.fetch(f"/streams/few/none?key={key}")
    server.fetch(f"/streams/ticks/deadline?key={key}")
    outcomes(server, key, 2)

    def exported() -> str:
        return server.fetch("/otel").body.decode()

    wait_for(lambda: "DeadlineExceeded" in exported(), "the deadline")
    lines = exported().splitlines()
    complete = [line for line in lines if "'streamkit.reason': 'complete'" in line]
    assert any(f"'http.route': '{ROUTE}'" in line for line in complete)
    assert any(line.startswith("http.server.request.duration") for line in lines)
    active = [line for line in lines if line.startswith("http.server.active_requests")]
    assert [line.rpartition(" ")[2] for line in active] == ["0"]
    path = "/streams/ticks/deadline"
    events = [events for name, events in told(server, "/spans") if name == path][-1]
    # Beside the exception, which the instrumentation notes.
    own = [(name, said) for name, said in events if name.startswith("streamkit.")]
    assert [name for name, _ in own] == ["streamkit.first_byte", "streamkit.ended"]
    assert own[1][1]["streamkit.reason"] == "timeout"


def test_open_streams_are_listed(server: Server, key: str) -> None:
    with server.connect(f"/streams/ticks/none?key={key}") as client:
        client.receive_until(b"tick")
        found = told(server, "/open")
        assert [route for route, _, _ in found] == [ROUTE]
        assert found[0][1] >= 5
        assert found[0][2] in ("content", "client")
    outcomes(server, key)
    wait_for(lambda: told(server, "/open") == [], "no open stream")
