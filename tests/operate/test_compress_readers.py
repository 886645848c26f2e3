"""Compressed streams on a real server, read back by the programs that people read them with."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.browser import chromium
from tests.operate.compress_app import PLAIN, ROWS, rows
from tests.server import Server, serving

pytest.importorskip("uvicorn")

EXPECTED = list(rows())
CODINGS = ["zstd", "br", "gzip"]
KINDS = ["sync", "async"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    arguments = ["uvicorn", "--port={port}", "--log-level=critical"]
    with serving([*arguments, "tests.operate.compress_app:app"]) as server:
        yield server


@pytest.fixture
def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# curl


@pytest.fixture
def curl() -> str:
    path = shutil.which("curl")
    if path is None:
        pytest.skip("curl is not installed")
    return path


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(command, capture_output=True, timeout=30, check=False)


def features(curl: str) -> str:
    return run(curl, "--version").stdout.decode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", CODINGS)
def test_curl_reads_each_coding(coding: str, kind: str, url: str, curl: str) -> None:
    name = {"br": "brotli", "gzip": "libz", "zstd": "zstd"}[coding]
    if name not in features(curl):
        pytest.skip(f"this curl reads no {coding}")
    accepting = ["--compressed", "-H", f"Accept-Encoding: {coding}"]
    got = run(curl, "-sS", *accepting, "-D", "/dev/stderr", f"{url}/rows/{kind}")
    assert f"content-encoding: {coding}" in got.stderr.decode().lower()
    assert lines(got.stdout.decode()) == EXPECTED


@pytest.mark.parametrize("coding", CODINGS)
def test_curl_tells_that_a_body_was_cut(coding: str, url: str, curl: str) -> None:
    got = run(curl, "-sS", "-H", f"Accept-Encoding: {coding}", f"{url}/rows/broken")
    # "Transferred a partial file", of the chunks.
    assert got.returncode == 18, got.stderr


# httpx


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", CODINGS)
def test_httpx_reads_each_coding(coding: str, kind: str, url: str) -> None:
    if coding == "zstd":
        pytest.importorskip("zstandard", reason="httpx reads zstd with zstandard")
    got = httpx.get(f"{url}/rows/{kind}", headers={"accept-encoding": coding})
    assert got.headers["content-encoding"] == coding
    assert got.headers["vary"] == "Accept-Encoding"
    assert lines(got.text) == EXPECTED


def test_httpx_has_what_it_asks_for_by_itself(url: str) -> None:
    with httpx.Client() as client:
        offered = client.headers["accept-encoding"]
        got = client.get(f"{url}/rows/sync")
    best = next(coding for coding in CODINGS if coding in offered)
    assert got.headers["content-encoding"] == best
    assert lines(got.text) == EXPECTED


@pytest.mark.parametrize("coding", CODINGS)
def test_httpx_tells_that_a_body_was_cut(coding: str, url: str) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{url}/rows/broken", headers={"accept-encoding": coding})


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coding", CODINGS)
def test_a_live_event_can_be_read_before_the_next_is_made(coding: str, kind: str, url: str) -> None:
    if coding == "zstd":
        pytest.importorskip("zstandard", reason="httpx reads zstd with zstandard")
    headers = {"accept-encoding": coding}
    found = []
    with httpx.stream("GET", f"{url}/events/{kind}", headers=headers, timeout=20) as got:
        assert got.headers["content-encoding"] == coding
        for line in got.iter_lines():
            if line.startswith("data: "):
                found.append(line.removeprefix("data: "))
                httpx.get(f"{url}/seen", params={"event": found[-1]})
    assert found == [f"event {number}" for number in range(5)]


def test_a_tag_that_was_sent_gives_a_304(url: str) -> None:
    headers = {"accept-encoding": "gzip"}
    etag = httpx.get(f"{url}/rows/sync", headers=headers).headers["etag"]
    assert etag == 'W/"v7--gzip"'
    again = httpx.get(f"{url}/rows/sync", headers={**headers, "if-none-match": etag})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
    plain = {"accept-encoding": "identity", "if-none-match": etag}
    assert httpx.get(f"{url}/rows/sync", headers=plain).status_code == 200


@pytest.mark.parametrize("coding", [*CODINGS, "identity"])
def test_a_sibling_is_read_and_has_ranges_of_its_own(coding: str, url: str) -> None:
    if coding == "zstd":
        pytest.importorskip("zstandard", reason="httpx reads zstd with zstandard")
    headers = {"accept-encoding": coding}
    got = httpx.get(f"{url}/app.js", headers=headers)
    assert got.headers.get("content-encoding", "identity") == coding
    assert got.content == PLAIN.read_bytes()
    suffix = {"zstd": ".zst", "br": ".br", "gzip": ".gz", "identity": ""}[coding]
    ready = Path(f"{PLAIN}{suffix}")
    assert int(got.headers["content-length"]) == len(ready.read_bytes()) or coding == "identity"
    etag = got.headers["etag"]
    ranged = {**headers, "range": "bytes=5-", "if-range": etag}
    with httpx.stream("GET", f"{url}/app.js", headers=ranged) as part:
        assert part.status_code == 206
        assert part.headers["etag"] == etag
        length = int(part.headers["content-length"])
        assert part.headers["content-range"] == f"bytes 5-{length + 4}/{length + 5}"
        assert len(b"".join(part.iter_raw())) == length


# Chromium and node

READ = """
async path => {
    const answer = await fetch(path);
    return [answer.headers.get("content-encoding"), await answer.text()];
}
"""
READ_CUT = """
async path => {
    const answer = await fetch(path);
    return await answer.text().then(() => "whole", error => error.name);
}
"""
LISTEN = """
path => new Promise(resolve => {
    const found = [], source = new EventSource(path);
    source.onmessage = event => {
        found.push(event.data);
        fetch("/seen?event=" + encodeURIComponent(event.data));
        if (found.length == 5) { source.close(); resolve(found); }
    };
})
"""


@pytest.fixture(scope="module")
def tab(server: Server) -> Iterator[Any]:
    with chromium() as browser:
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{server.port}/page")
        yield tab


@pytest.mark.parametrize("coding", CODINGS)
def test_chromium_reads_each_coding(coding: str, tab: Any) -> None:
    # It accepts all three from this machine, as it does over TLS.
    found, text = tab.evaluate(READ, f"/rows/sync?offer={coding}")
    assert found == coding
    assert lines(text) == EXPECTED


def test_chromium_tells_that_a_body_was_cut(tab: Any) -> None:
    assert tab.evaluate(READ_CUT, "/rows/broken") == "TypeError"


@pytest.mark.parametrize("kind", KINDS)
def test_chromium_gets_each_event_before_the_next_is_made(kind: str, tab: Any) -> None:
    found = tab.evaluate(LISTEN, f"/events/{kind}")
    assert found == [f"event {number}" for number in range(5)]


NODE = """
const [url, coding] = process.argv.slice(1);
fetch(url, {headers: {"accept-encoding": coding}})
    .then(answer => Promise.all([answer.headers.get("content-encoding"), answer.text()]))
    .then(([found, text]) => console.log(found + " " + text.split("\\n").length))
    .catch(error => console.log(error.name));
"""


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_node_reads_each_coding(coding: str, url: str) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    whole = run(node, "-e", NODE, f"{url}/rows/sync", coding)
    assert whole.stdout.decode().split() == [coding, str(ROWS + 1)]
    cut = run(node, "-e", NODE, f"{url}/rows/broken", coding)
    assert cut.stdout.decode().split() == ["TypeError"]
