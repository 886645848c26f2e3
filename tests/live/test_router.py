"""What the routes of all runs are asked for, and where there are none."""

from __future__ import annotations

import sys

import pytest
from fastapi import FastAPI

from streamkit.live import Live, Log, MemoryLog
from streamkit.testing import fetch
from tests.live.support import Content, running

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("application/jsonl", "application/jsonl"),
        ("application/x-ndjson", "application/jsonl"),
        ("application/jsonl;q=0.9, text/event-stream;q=0.5", "application/jsonl"),
        ("application/jsonl;q=0.5, text/event-stream", "text/event-stream"),
        ("application/jsonl;q=high", "text/event-stream"),
        ("application/jsonl;profile=x", "application/jsonl"),
        ("text/html, */*", "text/event-stream"),
    ],
)
async def test_the_format_is_the_one_the_client_prefers(accept: str, media_type: str) -> None:
    async with running(MemoryLog()) as h:
        await h.done(1)
        got = await h.get("/streams/run", accept=accept)
        assert got.headers["content-type"].split(";")[0] == media_type
        assert got.headers["vary"] == "Accept"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("id_", ["", "a%0Ab", "x" * 513])
async def test_what_can_be_no_id_is_a_404(id_: str, method: str) -> None:
    async with running(MemoryLog()) as h:
        assert (await fetch(h.app, f"/streams/{id_}", method=method)).status == 404


@pytest.mark.parametrize("query", ["skip=2", "after=&skip=2", "after=now&skip=2"])
async def test_items_are_counted_from_an_id(query: str) -> None:
    async with running(MemoryLog()) as h:
        await h.done(1, 2, 3)
        refused = await h.get(f"/streams/run?{query}", accept="application/jsonl")
        assert refused.status == 400
        assert b"skip counts from the id" in refused.body
        assert (await h.get("/streams/run?skip=0")).status == 200


async def test_an_authorize_that_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match="authorize must be callable, got bool: False"):
        Live().router("/streams", authorize=False)  # type: ignore[arg-type]


async def test_who_asks_for_the_state_is_no_reader(log: Log) -> None:
    async with running(log, lease=5.0) as h:
        content = Content()
        run = await h.live.start(content, id="run", linger=0)
        head = await fetch(h.app, "/streams/run", method="HEAD")
        assert (head.status, head.headers["stream-state"]) == (200, "running")
        assert head.headers["stream-after"]
        # It waits for its first reader still.
        producer = h.live._core.producers["run"]
        assert producer.lingers
        assert not producer.had_reader
        follow = run.follow()
        content.put(1)
        assert await anext(follow) == 1
        await follow.aclose()
        assert await run.wait() == "cancelled"


async def test_without_fastapi_the_router_says_what_to_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(ImportError, match=r"needs FastAPI; in Starlette make routes"):
        Live().router("/streams")


async def test_a_mounted_app_is_told_that_its_lifespan_never_runs() -> None:
    live = Live()
    mounted = FastAPI(lifespan=live.lifespan)
    mounted.include_router(live.router("/streams"))
    app = FastAPI()
    app.mount("/v1", mounted)
    async with app.router.lifespan_context(app):
        error = (await fetch(app, "/v1/streams/run")).error
    assert isinstance(error, RuntimeError)
    assert "mounted in another never runs" in str(error)


async def test_the_outermost_app_runs_it_for_a_mounted_one() -> None:
    live = Live(path="/v1/streams")
    mounted = FastAPI()
    mounted.include_router(live.router("/streams"))
    app = FastAPI(lifespan=live.lifespan)
    app.mount("/v1", mounted)
    async with app.router.lifespan_context(app):
        run = await live.start([1])
        got = await fetch(app, run.headers["Location"])
    assert got.complete
    assert b"data: 1\n" in got.body


def test_the_document_tells_what_the_routes_answer() -> None:
    app = FastAPI()
    app.include_router(Live().router("/streams"))
    ways = app.openapi()["paths"]["/streams/{id}"]
    told = {way: set(each["responses"]) - {"422"} for way, each in ways.items()}
    refused = {"403", "404", "503"}
    assert told == {
        "get": {"200", "204", "410"} | refused,
        "head": {"200", "204", "410"} | refused,
        "delete": {"204"} | refused,
    }
    assert set(ways["get"]["responses"]["200"]["content"]) == {
        "text/event-stream",
        "application/jsonl",
    }
    assert "content" not in ways["head"]["responses"]["200"]
