"""The examples that pass on another server's response."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from streamkit.testing import FetchedResponse, fetch, stream
from tests.documentation import run_example
from tests.upstream import TEXT, Upstream, upstream

pytest.importorskip("fastapi")

CLIENTS = ["httpx", "aiohttp", "requests"]
TARGETS = [
    "/a%2Fb",
    "/%2541",
    "/a%3Fb=1",
    "/a%23b",
    "/%C3%BC%20",
    "/a//b/",
    "/a;b=1",
    "/a?x=%26&y=a+b",
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Upstream]:
    with upstream() as server:
        monkeypatch.setenv("UPSTREAM", server.url)
        yield server


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app(client: str, server: Upstream) -> Any:
    return run_example(f"pass_on_{client}")["app"]


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


def test_a_range_of_another_version_is_not_asked_for(app: Any, server: Upstream) -> None:
    ask(app, "/text", **{"range": "bytes=10-19", "if-range": '"of before"'})

    assert server.asked[0]["range"] == "bytes=10-19"
    assert server.asked[0]["if-range"] == '"of before"'


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


def test_a_cookie_of_the_server_behind_is_not_sent_for_the_next_user(
    monkeypatch: pytest.MonkeyPatch, server: Upstream, client: str
) -> None:
    # aiohttp keeps no cookies of an address without a name.
    monkeypatch.setenv("UPSTREAM", server.url.replace("127.0.0.1", "localhost"))
    app = run_example(f"pass_on_{client}")["app"]

    async def two_users() -> None:
        async with app.router.lifespan_context(app):
            await fetch(app, "/text")
            await fetch(app, "/text")

    anyio.run(two_users)
    assert [asked.get("cookie") for asked in server.asked] == [None, None]


@pytest.mark.parametrize("target", TARGETS)
def test_path_and_query_are_passed_on_as_they_came(app: Any, server: Upstream, target: str) -> None:
    ask(app, target)

    assert server.targets == [target]


@pytest.mark.parametrize("target", TARGETS)
def test_the_folder_of_the_server_behind_stays_before_the_path(
    monkeypatch: pytest.MonkeyPatch, server: Upstream, client: str, target: str
) -> None:
    monkeypatch.setenv("UPSTREAM", f"{server.url}/public")
    ask(run_example(f"pass_on_{client}")["app"], target)

    assert server.targets == [f"/public{target}"]


@pytest.mark.parametrize(
    "path",
    [
        "/../text",
        "/..",
        "/a/../../text",
        "/%2e%2e/text",
        "/.%2E/text",
        "/..%2Ftext",
        "/a%2F..%2F..%2Ftext",
        "/..%5Ctext",
        "/..;/text",
    ],
)
def test_a_path_that_climbs_is_refused_and_not_asked_for(
    monkeypatch: pytest.MonkeyPatch, server: Upstream, client: str, path: str
) -> None:
    monkeypatch.setenv("UPSTREAM", f"{server.url}/public")
    response = ask(run_example(f"pass_on_{client}")["app"], path)

    assert (response.status, server.targets) == (400, [])


@pytest.mark.parametrize("path", ["/a..b", "/...", "/..a/b..", "/a?up=../b"])
def test_dots_that_climb_nowhere_are_passed_on(app: Any, server: Upstream, path: str) -> None:
    ask(app, path)

    assert server.targets == [path]


def test_the_prefix_of_a_mount_is_not_passed_on(app: Any, server: Upstream) -> None:
    outer = Starlette(routes=[Mount("/behind", app)])

    async def main() -> None:
        async with app.router.lifespan_context(app):
            await fetch(outer, "/behind/a%2Fb?x=1")
            await fetch(outer, "/behind/")

    anyio.run(main)
    assert server.targets == ["/a%2Fb?x=1", "/"]


def test_a_server_that_gives_no_raw_path_has_its_path_encoded(app: Any, server: Upstream) -> None:
    async def without(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "raw_path": None}, receive, send)

    async def main() -> FetchedResponse:
        async with app.router.lifespan_context(app):
            await fetch(without, "/a%20b%3F%23?x=1")
            return await fetch(without, "/%2e%2e/text")

    assert anyio.run(main).status == 400
    assert server.targets == ["/a%20b%3F%23?x=1"]


def test_a_raw_number_sign_does_not_end_the_address(app: Any, server: Upstream) -> None:
    # h11 takes a target with one, though no standard allows it.
    async def raw(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "path": "/a#b", "raw_path": b"/a#b"}, receive, send)

    async def main() -> None:
        async with app.router.lifespan_context(app):
            await fetch(raw, "/")

    anyio.run(main)
    assert server.targets == ["/a%23b"]


def test_a_redirect_is_passed_on_and_not_followed(app: Any, server: Upstream) -> None:
    response = ask(app, "/moved")

    assert (response.status, response.headers["location"]) == (302, "/text")
    assert server.targets == ["/moved"]


@pytest.mark.parametrize("path", ["//HOST/text", "/%2F/HOST/text", "/https:%2F%2FHOST/text"])
def test_no_path_leads_to_another_host(app: Any, server: Upstream, path: str) -> None:
    with upstream() as other:
        ask(app, path.replace("HOST", other.url.removeprefix("http://")))

        assert (len(server.targets), other.targets) == (1, [])


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


@pytest.mark.parametrize(
    ("program", "path"), [("relay_events", "/relayed"), ("llm_gateway", "/chat")]
)
def test_programs_that_share_a_client_keep_no_cookies_of_the_server_behind(
    server: Upstream, program: str, path: str
) -> None:
    app = run_example(program)["app"]

    async def two_users() -> None:
        async with app.router.lifespan_context(app):
            for _ in range(2):
                method, body = ("POST", b'{"messages": []}') if path == "/chat" else ("GET", b"")
                async with stream(app, path, method=method, body=body) as client:
                    await anext(client)
                    await client.disconnect()
                    await client.wait_closed()

    anyio.run(two_users)
    assert [asked.get("cookie") for asked in server.asked] == [None, None]


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
