"""The examples that pass on another server's response."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest

from streamkit.testing import FetchedResponse, fetch, stream
from tests.documentation import run_example
from tests.upstream import TEXT, Upstream, upstream

pytest.importorskip("fastapi")

CLIENTS = ["httpx", "aiohttp", "requests"]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with upstream() as server:
        monkeypatch.setenv("UPSTREAM", server.url)
        yield server


@pytest.fixture(params=CLIENTS)
def app(request: pytest.FixtureRequest, server: Upstream) -> Any:
    return run_example(f"pass_on_{request.param}")["app"]


def ask(app: Any, path: str, method: str = "GET", **headers: str) -> FetchedResponse:
    async def main() -> FetchedResponse:
        async with app.router.lifespan_context(app):
            return await fetch(app, path, method=method, headers=headers)

    return anyio.run(main)


def test_a_whole_response_is_passed_on_without_the_headers_of_its_connection(app: Any) -> None:
    response = ask(app, "/text")

    assert (response.status, response.body) == (200, TEXT)
    assert response.headers["content-type"].startswith("text/plain")
    assert response.headers["content-length"] == str(len(TEXT))
    assert "x-own" not in response.headers
    assert "connection" not in response.headers


def test_a_range_is_asked_for_and_passed_on(app: Any) -> None:
    response = ask(app, "/text", range="bytes=10-19")

    assert (response.status, response.body) == (206, TEXT[10:20])
    assert response.headers["content-range"] == f"bytes 10-19/{len(TEXT)}"


def test_a_compressed_response_stays_as_it_is(app: Any) -> None:
    response = ask(app, "/packed", **{"accept-encoding": "gzip"})

    assert response.headers["content-encoding"] == "gzip"
    assert gzip.decompress(response.body) == TEXT


def test_the_server_behind_is_not_asked_for_a_coding_that_the_client_did_not_name(
    app: Any, server: Upstream
) -> None:
    ask(app, "/text")

    assert server.asked[0]["accept-encoding"] == "identity"


def test_a_status_is_passed_on(app: Any) -> None:
    response = ask(app, "/nothing")

    assert (response.status, response.body) == (404, b"nothing here")


def test_a_response_that_was_cut_is_cut_again(app: Any) -> None:
    response = ask(app, "/cut")

    assert (response.status, response.complete) == (200, False)


def test_a_server_that_is_not_there_is_a_502(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setenv("UPSTREAM", "http://127.0.0.1:9")
    for client in CLIENTS:
        assert ask(run_example(f"pass_on_{client}")["app"], "/text").status == 502


def test_events_arrive_as_they_come_and_the_server_is_told_that_the_client_left(
    app: Any, server: Upstream
) -> None:
    async def main() -> None:
        async with app.router.lifespan_context(app), stream(app, "/events") as client:
            assert client.headers["content-type"].startswith("text/event-stream")
            assert (await anext(client)).startswith(b"data: 1\n\n")
            await client.disconnect()
            await client.wait_closed()

    anyio.run(main)
    assert server.left.wait(10)


def test_httpx_passes_on_headers_that_are_not_ascii(server: Upstream) -> None:
    response = ask(run_example("pass_on_httpx")["app"], "/named", cookie="name=Müller")

    assert server.asked[0]["cookie"] == "name=Müller"
    name = response.headers["content-disposition"].encode("latin-1").decode()
    assert name == 'attachment; filename="日本.txt"'


def test_httpx_passes_on_every_cookie_and_head(server: Upstream) -> None:
    app = run_example("pass_on_httpx")["app"]
    response = ask(app, "/text", "HEAD")

    assert (response.status, response.body) == (200, b"")
    assert response.headers["content-length"] == str(len(TEXT))
    assert response.headers.getlist("set-cookie") == ["a=1", "b=2"]
    assert "host" in server.asked[0]
    assert server.asked[0]["host"] == server.url.removeprefix("http://")


def test_relayed_events_go_on_where_the_client_was(server: Upstream) -> None:
    app = run_example("relay_events")["app"]

    async def main() -> None:
        cursor = {"last-event-id": "Müller".encode().decode("latin-1")}
        async with (
            app.router.lifespan_context(app),
            stream(app, "/relayed", headers=cursor) as client,
        ):
            assert client.headers["content-type"].startswith("text/event-stream")
            assert (await anext(client)).startswith(b"data: 1\n\n")
            await client.disconnect()
            await client.wait_closed()

    anyio.run(main)
    # As bytes of UTF-8, which the handler of this server takes for Latin-1.
    assert server.asked[0]["last-event-id"].encode("latin-1").decode() == "Müller"
    assert server.left.wait(10)


def test_a_refusal_of_the_server_whose_events_are_relayed_is_a_502(
    server: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPSTREAM", f"{server.url}/nothing")
    refused = ask(run_example("relay_events")["app"], "/relayed")
    monkeypatch.setenv("UPSTREAM", "http://127.0.0.1:9")
    absent = ask(run_example("relay_events")["app"], "/relayed")

    assert (refused.status, absent.status) == (502, 502)
    assert b"says 404" in refused.body


def test_a_gateway_takes_the_tokens_out_of_an_api_of_openais_kind(server: Upstream) -> None:
    app = run_example("llm_gateway")["app"]

    async def ask_twice() -> tuple[FetchedResponse, FetchedResponse]:
        async with app.router.lifespan_context(app):
            question = b'{"messages": []}'
            answered = await fetch(app, "/chat", method="POST", body=question)
            return answered, await fetch(app, "/chat", method="POST", body=b"{}")

    answered, refused = anyio.run(ask_twice)
    events = answered.body.split(b"\n\n")
    tokens = [json.loads(event.removeprefix(b"data: ")) for event in events[:2]]
    assert tokens == [{"text": "Größe\u2028"}, {"text": "\n"}]
    assert events[2:] == [b"event: done\ndata: ", b""]
    assert refused.status == 422
