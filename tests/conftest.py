from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import streamkit
from tests.blocking import raise_for_blocking_calls
from tests.documentation import FILM, PDF
from tests.versions import STARLETTE

settings.register_profile("default", deadline=None, max_examples=60)
settings.register_profile("thorough", deadline=None, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config: pytest.Config) -> None:
    if STARLETTE < (1, 8):
        # Its BaseHTTPMiddleware leaves a generator to the garbage collector, and trio tells.
        leak = "Async generator 'starlette.requests.Request.stream'"
        config.addinivalue_line("filterwarnings", f"ignore:{leak}:ResourceWarning")


BACKENDS = [
    pytest.param(("asyncio", {"use_uvloop": False}), id="asyncio"),
    pytest.param(("asyncio", {"use_uvloop": True}), id="uvloop"),
    pytest.param(("trio", {}), id="trio"),
]


@pytest.fixture(params=BACKENDS)
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def sample_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files that the documentation's programs open, in the current directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_bytes(FILM)
    for name in ("app.log", "logo.png", "rows.csv", "downloads/readme.txt", "secret.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"this is {name}\n".encode() * 10)
    with sqlite3.connect("reports.db") as reports:
        reports.execute("CREATE TABLE reports (body BLOB)")
        reports.execute("INSERT INTO reports VALUES (?)", (PDF,))
    with sqlite3.connect("shop.db") as shop:
        shop.execute("CREATE TABLE orders (id, customer, total)")
        shop.execute("INSERT INTO orders VALUES (1, 'Öl, AG', 2.5)")
    for connection in (reports, shop):
        connection.close()
    return tmp_path


@pytest.fixture(scope="module", autouse=True)
def blocking_calls_raise() -> Iterator[list[str]]:
    """Catches what blocks asyncio's loop, in the tests of each file; gives the stacks of that."""
    # Without the package the tests run unwatched: it changes C types, which not all Pythons permit.
    with raise_for_blocking_calls() if find_spec("blockbuster") else nullcontext([]) as raised:
        yield raised


@pytest.fixture(autouse=True)
def no_blocking_call_is_hidden(blocking_calls_raise: list[str]) -> Iterator[None]:
    """Fails the test that met one, also where its content or the response took the error."""
    blocking_calls_raise.clear()
    yield
    assert not blocking_calls_raise, "\n".join(blocking_calls_raise)


@pytest.fixture(autouse=True)
def first_chunks_may_be_late(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine may not have the first chunk within half a second, the default, or within the
    twentieth of one that events have.

    Tests of late starts say for themselves how late, and real servers have the default. So has a
    test that is marked with `defaults`.
    """
    if request.node.get_closest_marker("defaults") is None:
        for late in (streamkit.StreamingResponse, streamkit.SSEStreamingResponse):
            monkeypatch.setattr(late, "first_chunk_timeout", 5.0)
