"""Keep-alives of an event stream disturb none of the clients that people read it with."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamkit.encoders.sse import ServerSentEvent, SSEEncoder

PACKAGES = ["eventsource-parser@3", "eventsource@4", "ai@6"]


def chunk(number: int) -> dict[str, Any]:
    """What openai's client reads; to the others it is JSON."""
    choice = {"index": 0, "delta": {"content": str(number)}, "finish_reason": None}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    return {**head, "choices": [choice]}


STREAMS: dict[str, list[ServerSentEvent]] = {
    "without an id": [ServerSentEvent(chunk(n)) for n in range(3)],
    "with ids": [ServerSentEvent(chunk(n), id=str(n)) for n in range(3)],
    "with an id at first": [
        ServerSentEvent(chunk(0), id="0"),
        *[ServerSentEvent(chunk(n)) for n in (1, 2)],
    ],
    "with ids in relayed bytes": [],
}
ITEMS: dict[str, Any] = {
    "default": None,
    "text": "still here",
    "comment": ServerSentEvent(comment="still\nhere"),
    "bytes": b": still here\n",
    "function": lambda: "still here",
}


def body_of(stream: str, item: Any = None, *, keep_alives: bool = True) -> bytes:
    encoder = SSEEncoder(keep_alive_item=item)
    pause = encoder.keep_alive if keep_alives else bytes
    frames: list[Any] = STREAMS[stream]
    if not frames:
        relayed = b"".join(SSEEncoder().encode(event) for event in STREAMS["with ids"])
        # Cut within the name of a field.
        frames = [relayed[: relayed.index(b"id:") + 1], relayed[relayed.index(b"id:") + 1 :]]
    body = pause() + pause()
    for frame in frames:
        body += encoder.encode(frame)
        body += pause() + pause() if encoder.between_frames else b""
    return body + encoder.encode("[DONE]")


class Site:
    """Serves bodies by their number, as events."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                self.rfile.read(length)
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                self.wfile.write(site.bodies[int(self.path.split("/")[1])])

            do_POST = do_GET  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def url(self, body: bytes) -> str:
        self.bodies.append(body)
        return f"http://127.0.0.1:{self.server.server_port}/{len(self.bodies) - 1}"


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    served = Site()
    thread = threading.Thread(target=served.server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield served
    finally:
        served.server.shutdown()
        served.server.server_close()
        thread.join()


def with_httpx_sse(url: str) -> list[str]:
    httpx_sse = pytest.importorskip("httpx_sse")
    with httpx.Client() as client, httpx_sse.connect_sse(client, "GET", url) as source:
        return [event.data for event in source.iter_sse()]


def with_openai(url: str) -> list[str]:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(api_key="none", base_url=url, max_retries=0) as client:
        stream = client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        found = [part.choices[0].delta.content for part in stream]
    return [json.dumps(chunk(int(text)), separators=(",", ":")) for text in found] + ["[DONE]"]


def with_lines(url: str) -> list[str]:
    """A reader that takes the lines that begin with `data:`, and looks at no others."""
    with httpx.stream("GET", url) as response:
        return [line[6:] for line in response.iter_lines() if line.startswith("data: ")]


def with_blocks(url: str) -> list[str]:
    """A reader that splits at blank lines, and looks at the lines of each block."""
    blocks = httpx.get(url).text.split("\n\n")
    return [
        line.removeprefix("data: ")
        for block in blocks
        for line in block.split("\n")
        if line.startswith("data: ")
    ]


def with_blocks_of_data(url: str) -> list[str]:
    """A reader that splits at blank lines, and takes only a block that begins with `data:`."""
    blocks = httpx.get(url).text.split("\n\n")
    return [block.removeprefix("data: ") for block in blocks if block.startswith("data: ")]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the clients of npm."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("needs node and npm")
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    try:
        done = subprocess.run(
            [npm, "install", *quiet, *PACKAGES], cwd=folder, capture_output=True, timeout=90
        )
    except subprocess.TimeoutExpired:
        pytest.skip("needs the npm registry")
    if done.returncode:
        pytest.skip("needs the npm registry, and a node that these packages run on")
    (folder / "read.mjs").write_text(READ)
    return folder


READ = """
import { createParser } from "eventsource-parser";
import { EventSource } from "eventsource";
import { parseJsonEventStream } from "ai";

const any = { "~standard": { version: 1, vendor: "test", validate: (value) => ({ value }) } };
const clients = {
  async parser(url) {
    const found = [];
    const parser = createParser({ onEvent: (event) => found.push(event.data) });
    const text = new TextDecoder();
    for await (const chunk of (await fetch(url)).body)
      for (const byte of chunk) parser.feed(text.decode(new Uint8Array([byte]), { stream: true }));
    return found;
  },
  eventsource(url) {
    return new Promise((resolve) => {
      const found = [];
      const source = new EventSource(url);
      source.onmessage = (event) => {
        found.push(event.data);
        if (event.data === "[DONE]") { source.close(); resolve(found); }
      };
    });
  },
  async ai(url) {
    const found = [];
    const stream = parseJsonEventStream({ stream: (await fetch(url)).body, schema: any });
    for await (const each of stream)
      found.push(each.success ? JSON.stringify(each.value) : `failed: ${each.error}`);
    return [...found, "[DONE]"];
  },
};
const result = {};
for (const [name, read] of Object.entries(clients)) {
  result[name] = [];
  for (const url of process.argv.slice(2)) result[name].push(await read(url));
}
console.log(JSON.stringify(result));
"""

CLIENTS: list[Callable[[str], list[str]]] = [with_httpx_sse, with_openai, with_lines, with_blocks]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("item", ITEMS)
@pytest.mark.parametrize("stream", STREAMS)
def test_no_client_sees_a_keep_alive(
    site: Site, client: Callable[[str], list[str]], item: str, stream: str
) -> None:
    expected = client(site.url(body_of(stream, keep_alives=False)))
    assert len(expected) == 4
    assert client(site.url(body_of(stream, ITEMS[item]))) == expected


@pytest.mark.parametrize("item", ["default", "text", "comment", "function"])
def test_a_reader_that_knows_data_alone_sees_none_either(site: Site, item: str) -> None:
    expected = with_blocks_of_data(site.url(body_of("without an id", keep_alives=False)))
    assert with_blocks_of_data(site.url(body_of("without an id", ITEMS[item]))) == expected


def test_no_client_of_npm_sees_a_keep_alive(site: Site, packages: Path) -> None:
    urls = [site.url(body_of(stream, ITEMS[item])) for stream in STREAMS for item in ITEMS]
    plain = [site.url(body_of(stream, keep_alives=False)) for stream in STREAMS for _ in ITEMS]
    done = subprocess.run(
        ["node", "read.mjs", *urls, *plain],
        cwd=packages,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    for name, found in json.loads(done.stdout).items():
        with_keep_alives, without = found[: len(urls)], found[len(urls) :]
        assert with_keep_alives == without, name
        assert {len(each) for each in without} == {4}


# the item


def frames(item: Any, *events: Any) -> list[bytes]:
    encoder = SSEEncoder(keep_alive_item=item)
    for event in events:
        encoder.encode(event)
    return [encoder.keep_alive(), encoder.keep_alive()]


ID = ServerSentEvent("a", id="7")


@pytest.mark.parametrize(
    ("item", "events", "frame"),
    [
        (None, [], b": keep-alive\n\n"),
        (None, ["a"], b": keep-alive\n\n"),
        (None, [ID], b": keep-alive\n"),
        (None, [ServerSentEvent(id="7", retry=5)], b": keep-alive\n"),
        (None, [ServerSentEvent({}, id="7")], b": keep-alive\n"),
        (None, [ServerSentEvent("a", id="")], b": keep-alive\n\n"),
        (None, [b"id: 7\ndata: a\n\n"], b": keep-alive\n"),
        (None, [b"data: a\ni", b"d: 7\n\n"], b": keep-alive\n"),
        (None, [b"data: a\r\rid\r\r"], b": keep-alive\n"),
        (None, [b"\xef\xbb\xbfid: 7\n\n"], b": keep-alive\n"),
        (None, [b'data: {"id": 1}\n\n', {"id": 1}, b"idle: 1\n\n"], b": keep-alive\n\n"),
        ("ping", [], b": ping\n\n"),
        ("ping", [ID], b": ping\n"),
        ("two\nlines", [], b": two\n: lines\n\n"),
        ("", [], b": \n\n"),
        (ServerSentEvent(comment="ping"), [ID], b": ping\n"),
        (ServerSentEvent("x", event="ping"), [], b"event: ping\ndata: x\n\n"),
        (ServerSentEvent("x", event="ping"), [ID], b"event: ping\ndata: x\n\n"),
        ({"type": "ping"}, [ID], b'data: {"type":"ping"}\n\n'),
        (b":\n", [], b":\n"),
        (b": x\r\n\r\n", [ID], b": x\r\n\r\n"),
        (bytearray(b"event: ping\n\n"), [], b"event: ping\n\n"),
        (lambda: None, [ID], b": keep-alive\n"),
        (lambda: "ping", [], b": ping\n\n"),
        (lambda: ServerSentEvent("x"), [], b"data: x\n\n"),
    ],
)
def test_a_keep_alive_is_of_ones_choice(item: Any, events: list[Any], frame: bytes) -> None:
    assert frames(item, *events) == [frame, frame]


def test_a_function_is_called_for_each() -> None:
    numbers = iter(range(9))
    encoder = SSEEncoder(keep_alive_item=lambda: ServerSentEvent({"n": next(numbers)}))
    assert encoder.keep_alive() == b'data: {"n":0}\n\n'
    assert encoder.keep_alive() == b'data: {"n":1}\n\n'


def test_an_event_with_an_id_is_one_whoever_sends_it() -> None:
    encoder = SSEEncoder(keep_alive_item=b"id: 7\n\n")
    assert encoder.keep_alive() == b"id: 7\n\n"
    items: Iterator[Any] = iter([ID, "ping"])
    encoder = SSEEncoder(keep_alive_item=lambda: next(items))
    assert [encoder.keep_alive(), encoder.keep_alive()] == [b"id: 7\ndata: a\n\n", b": ping\n"]


def test_an_item_that_is_only_looked_at_leaves_no_trace() -> None:
    assert SSEEncoder(keep_alive_item=ID)._relay.id_sent is False


def test_it_need_not_be_of_the_type_of_the_items() -> None:
    encoder = SSEEncoder(adapter=list[int], keep_alive_item={"type": "ping"})
    assert encoder.keep_alive() == b'data: {"type":"ping"}\n\n'


@pytest.mark.parametrize("item", [b"", b": no end", b"data: x\n", b"data: x", b"\n: x"])
def test_bytes_that_end_in_the_middle_are_refused(item: bytes) -> None:
    with pytest.raises(ValueError, match="a keep_alive_item of bytes must be comment lines, or"):
        SSEEncoder(keep_alive_item=item)
    encoder = SSEEncoder(keep_alive_item=lambda: item)
    with pytest.raises(ValueError, match="a keep_alive_item of bytes"):
        encoder.keep_alive()


def test_an_item_that_cannot_be_sent_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match="cannot be sent as JSON"):
        SSEEncoder(keep_alive_item=object())
