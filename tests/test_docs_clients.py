"""The clients of the page about reading streams, each against the page's own server."""

from __future__ import annotations

import runpy
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.documentation import ROOT
from tests.server import serving

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

PAGE = (ROOT / "docs" / "how-to" / "read-a-stream.md").read_text(encoding="utf-8")
JAVASCRIPT = (ROOT / "docs" / "examples" / "lines.js").read_text(encoding="utf-8")
PRINTS_ERRORS = """
ask(process.argv[1], process.argv[2]).catch(error => console.log(error.name, error.message));
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    arguments = ["uvicorn", "docs.examples.read_a_stream:app", "--port", "{port}"]
    with serving(arguments) as server:
        yield f"http://127.0.0.1:{server.port}/answers"


def run(*command: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False)


def test_the_script_of_the_page_is_the_one_that_is_run() -> None:
    assert f"```js\n{JAVASCRIPT}```\n" in PAGE


@pytest.mark.parametrize(
    ("query", "token", "prints"),
    [
        ("", "secret", "Hello\nwörld\n"),
        ("?fail=1", "secret", "Hello\nwörld\nTypeError terminated\n"),
        ("", "none", 'Error 401 {"detail":"Unauthorized"}\n'),
    ],
    ids=["whole", "cut", "refused"],
)
def test_fetch_reads_lines_and_tells_a_cut(url: str, query: str, token: str, prints: str) -> None:
    done = run("node", "-e", JAVASCRIPT + PRINTS_ERRORS, url + query, token)
    assert (done.stdout, done.stderr) == (prints, "")


def test_httpx_reads_lines_and_tells_a_cut(url: str) -> None:
    httpx = pytest.importorskip("httpx")
    ask: Any = runpy.run_path(str(ROOT / "docs" / "examples" / "read_lines.py"))["ask"]

    items = ask(f"{url}?fail=1", "secret")
    assert [next(items), next(items)] == [{"text": "Hello"}, {"text": "wörld"}]
    with pytest.raises(httpx.RemoteProtocolError):
        next(items)
    with pytest.raises(httpx.HTTPStatusError, match="401"):
        next(ask(url, "none"))


def test_requests_reads_lines_and_tells_a_cut(url: str) -> None:
    requests = pytest.importorskip("requests")

    headers = {"Authorization": "Bearer secret"}
    lines = requests.post(f"{url}?fail=1", headers=headers, stream=True, timeout=60).iter_lines()
    assert next(lines) == b'{"text":"Hello"}'
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        list(lines)


def test_curl_tells_a_cut(url: str) -> None:
    done = run("curl", "-sN", "-X", "POST", "-H", "Authorization: Bearer secret", f"{url}?fail=1")
    assert done.returncode == 18
    assert done.stdout in PAGE
    assert done.stdout.count("\n") == 2
