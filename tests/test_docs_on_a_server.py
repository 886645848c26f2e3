"""The examples behind a real server, a proxy and somebody else's client do what their pages say."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import socket
import subprocess
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from tests.server import Connection, Server, free_port, serving, wait_for

fastapi = pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

import streamkit  # noqa: E402
from streamkit import (  # noqa: E402
    CSVStreamingResponse,
    JSONLinesStreamingResponse,
    PlainTextStreamingResponse,
    StreamOutcome,
)

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
ROWS = 2_000
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
# What the page's configuration stands in.
AROUND = """
daemon off; master_process off; pid {work}/pid;
events {{ worker_connections 64; }}
http {{
    access_log off; default_type application/octet-stream; client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi; uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {configuration}
}}
"""

FILM = Path(streamkit.__file__).parent / "demo" / "film.mp4"


@asynccontextmanager
async def beside_the_film(app: Any) -> AsyncIterator[None]:
    """The examples name files as if they were started where these are."""
    os.chdir(FILM.parent)
    # A mounted app has no lifespan of its own.
    async with RESUMABLE["live"]:
        yield


# The app that is served: the examples, and what shows how responses end.
app = fastapi.FastAPI(lifespan=beside_the_film)
outcomes: list[str] = []


def note(outcome: StreamOutcome) -> None:
    outcomes.append(outcome.reason)


def example(name: str) -> Any:
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


PROXIED = example("behind_a_proxy")
RESUMABLE = example("llm_resume")


@app.get("/outcomes")
async def told() -> list[str]:
    return outcomes


@app.get("/noted")
async def noted() -> Any:
    readings = PROXIED["readings"]()
    return JSONLinesStreamingResponse(readings, headers=PROXIED["LIVE"], on_close=note)


@app.get("/broken")
async def broken() -> Any:
    async def rows() -> Any:
        yield {"row": 1}
        async for _ in PROXIED["readings"]():
            raise RuntimeError("the rest is lost")

    return JSONLinesStreamingResponse(rows(), headers=PROXIED["LIVE"])


@app.get("/table.csv", response_class=CSVStreamingResponse)
def table() -> Any:
    for number in range(ROWS):
        yield {"id": number, "name": f"row {number}"}


async def fail(messages: Any) -> Any:
    if messages[0].content == "refuse":
        raise fastapi.HTTPException(429, "too many tokens")
    yield "Hello"
    raise fastapi.HTTPException(503, "the model has gone")


@app.get("/notes.txt")
def notes() -> Any:
    return PlainTextStreamingResponse(b"note\n" * ROWS, etag='"1"')


failing = example("llm_tokens")
failing["events"].__globals__["generate"] = fail
app.mount("/failing", failing["app"])
app.mount("/completions", example("llm_tokens")["app"])
app.mount("/resumable", RESUMABLE["app"])
app.mount("/", PROXIED["app"])


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(["uvicorn", f"{__name__}:app", "--port", "{port}"]) as server:
        yield server


# behind a proxy


@pytest.fixture(scope="module")
def proxy(server: Server) -> Iterator[int]:
    """The port of an nginx with the configuration of the page."""
    if NGINX is None:
        pytest.skip("nginx is not installed")
    port = free_port()
    configuration = (EXAMPLES / "nginx.conf").read_text()
    ports = {"8000": str(server.port), "listen 80": f"listen 127.0.0.1:{port}"}
    for before, after in ports.items():
        assert before in configuration
        configuration = configuration.replace(before, after)
    with tempfile.TemporaryDirectory(prefix="nginx-") as work:
        config = Path(work, "nginx.conf")
        config.write_text(AROUND.format(work=work, configuration=configuration))
        with nginx([NGINX, "-p", work, "-e", "stderr", "-c", str(config)], port):
            yield port


@contextmanager
def nginx(command: list[str], port: int) -> Iterator[None]:
    process = subprocess.Popen(command, start_new_session=True)

    def is_ready() -> bool:
        assert process.poll() is None, "nginx has ended"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_for(is_ready, "nginx")
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextmanager
def get(port: int, path: str, **headers: str) -> Iterator[HTTPResponse]:
    connection = HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        yield connection.getresponse()
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/events", "/readings.jsonl"])
def test_a_live_stream_passes_nginx_as_it_comes(proxy: int, path: str) -> None:
    with Connection(proxy, path) as client:
        # Each has some 30 bytes: of a buffer of nginx's there would be a hundred at once.
        client.receive_until(b'"reading":2')
        assert client.raw.count(b"reading") < 50
        assert b"x-accel-buffering" not in client.raw.lower()


def test_a_live_stream_passes_nginx_compressed_and_still_as_it_comes(proxy: int) -> None:
    with get(proxy, "/readings.jsonl", **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        gunzip, text = zlib.decompressobj(wbits=31), b""
        while b'"reading":2' not in text:
            text += gunzip.decompress(response.read1())
        assert text.count(b"reading") < 50


def test_nginx_tells_the_app_that_the_client_has_left(proxy: int, server: Server) -> None:
    with Connection(proxy, "/noted") as client:
        client.receive_until(b'"reading":1')

    wait_for(lambda: json.loads(server.fetch("/outcomes").body) == ["disconnect"], "the end")


def test_nginx_cuts_what_the_app_cuts(proxy: int) -> None:
    with Connection(proxy, "/broken") as client:
        reply = client.read()

    assert (reply.status, reply.body, reply.complete) == (200, b'{"row":1}\n', False)


def test_nginx_leaves_ranges_and_validators_to_the_app(proxy: int) -> None:
    film = FILM.read_bytes()
    with get(proxy, "/film.mp4") as response:
        etag = response.headers["ETag"]
        assert response.read() == film
    with get(proxy, "/film.mp4", Range="bytes=100-199") as response:
        assert (response.status, response.read()) == (206, film[100:200])
    with get(proxy, "/film.mp4", **{"If-None-Match": etag}) as response:
        assert (response.status, response.headers["Cache-Control"]) == (304, "public, max-age=3600")


def test_nginx_compresses_a_table(proxy: int) -> None:
    with get(proxy, "/table.csv", **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert zlib.decompress(response.read(), wbits=31).count(b"\n") == ROWS + 1


def test_what_nginx_compresses_has_no_ranges_any_more(proxy: int) -> None:
    with get(proxy, "/notes.txt", **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["ETag"] == 'W/"1"'
        assert response.headers["Accept-Ranges"] is None


def test_nginx_does_not_compress_events(proxy: int) -> None:
    with get(proxy, "/events", **{"Accept-Encoding": "gzip"}) as response:
        assert response.headers["Content-Encoding"] is None


# tokens of a model, as OpenAI's own client reads them


@pytest.fixture(scope="module")
def openai() -> Any:
    return pytest.importorskip("openai")


def complete(openai: Any, server: Server, mount: str, content: str = "Hi") -> list[Any]:
    url = f"http://127.0.0.1:{server.port}/{mount}/v1"
    with openai.OpenAI(base_url=url, api_key="none", max_retries=0, timeout=20) as client:
        return list(
            client.chat.completions.create(
                model="tiny", stream=True, messages=[{"role": "user", "content": content}]
            )
        )


def test_openais_client_shows_the_answer_as_the_page_has_it(openai: Any, server: Server) -> None:
    ask = example("openai_client")["ask"]

    url = f"http://127.0.0.1:{server.port}/completions/v1"
    assert list(ask("Hi", url)) == ["Hello", ",\n", "world", ""]


def test_openais_client_reads_the_tokens(openai: Any, server: Server) -> None:
    chunks = complete(openai, server, "completions")

    choices = [choice for chunk in chunks for choice in chunk.choices]
    assert [choice.delta.content for choice in choices] == ["Hello", ",\n", "world", None]
    assert [choice.delta.role for choice in choices] == ["assistant", None, None, None]
    assert [choice.finish_reason for choice in choices] == [None, None, None, "stop"]
    assert {(chunk.model, chunk.object) for chunk in chunks} == {("tiny", "chat.completion.chunk")}
    assert len({chunk.id for chunk in chunks}) == 1


def test_openais_client_reads_a_resumable_answer(openai: Any, server: Server) -> None:
    chunks = complete(openai, server, "resumable")

    contents = [choice.delta.content for chunk in chunks for choice in chunk.choices]
    assert contents == ["Hello", ",\n", "world", None]


def test_a_refusal_of_the_model_is_the_error_that_openais_client_has_for_it(
    openai: Any, server: Server
) -> None:
    with pytest.raises(openai.RateLimitError, match="429"):
        complete(openai, server, "failing", "refuse")


def test_a_failure_midway_is_an_error_of_openais_client(openai: Any, server: Server) -> None:
    with pytest.raises(openai.APIError) as caught:
        complete(openai, server, "failing")

    # What the event brings, and not the cut, which would be its APIConnectionError.
    assert type(caught.value) is openai.APIError
