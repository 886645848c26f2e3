"""Pages in Chromium that follow streams with EventSource."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.browser import chromium
from tests.live.conftest import RedisServer
from tests.server import ROOT, free_port, wait_for


class Process:
    """A server on one port, which is killed and comes back."""

    def __init__(self) -> None:
        self.port = free_port()
        self.start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def start(self) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "uvicorn", "tests.live.app:app"),
                *("--port", str(self.port), "--log-level", "critical"),
            ],
            cwd=ROOT,
        )
        wait_for(self._is_ready, "the server")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _is_ready(self) -> bool:
        try:
            return httpx.get(self.url("/page")).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def server(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Process]:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    monkeypatch.setenv("PREFIX", f"test-{secrets.token_hex(4)}:")
    server = Process()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


def open_page(browser: Any, server: Process, path: str) -> Any:
    tab = browser.new_context().new_page()
    tab.goto(server.url(f"/page#{path}"))
    return tab


def wait_until_seen(tab: Any, count: int) -> list[int]:
    tab.wait_for_function(f"seen.length >= {count}", polling=20)
    seen: list[int] = tab.evaluate("seen")
    return seen


def test_a_page_that_is_reloaded_midway_goes_on(browser: Any, server: Process) -> None:
    httpx.post(server.url("/begin/run?items=150&pause=0.02")).raise_for_status()
    tab = open_page(browser, server, "/streams/run")
    wait_until_seen(tab, 20)
    tab.reload()
    wait_until_seen(tab, 60)
    tab.reload()
    assert wait_until_seen(tab, 150) == list(range(150))
    # The 204 of a run that has ended tells it not to come back.
    tab.wait_for_function("source.readyState === EventSource.CLOSED", polling=20)
    assert tab.evaluate("seen.length") == 150


def test_two_tabs_on_one_channel_see_the_same(browser: Any, server: Process) -> None:
    httpx.post(server.url("/news?items=3")).raise_for_status()
    tabs = [open_page(browser, server, "/news") for _ in range(2)]
    for tab in tabs:
        wait_until_seen(tab, 3)
    httpx.post(server.url("/news?items=5")).raise_for_status()
    assert [wait_until_seen(tab, 8) for tab in tabs] == [[0, 1, 2, 0, 1, 2, 3, 4]] * 2


def test_a_page_catches_up_after_the_server_was_killed(browser: Any, server: Process) -> None:
    httpx.post(server.url("/news?items=3")).raise_for_status()
    tab = open_page(browser, server, "/news")
    wait_until_seen(tab, 3)
    server.kill()
    server.start()
    httpx.post(server.url("/news?items=4")).raise_for_status()
    assert wait_until_seen(tab, 7) == [0, 1, 2, 0, 1, 2, 3]
