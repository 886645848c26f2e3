"""The app that the tests with several processes serve."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from streamkit import SSEStreamingResponse, last_event_id
from streamkit.live import Live, RedisLog

live = Live(
    RedisLog(os.environ["REDIS_URL"], prefix=os.environ["PREFIX"], timeout=10.0),
    lease=float(os.environ.get("LEASE", "1")),
    grace=0.5,
)
app = FastAPI(lifespan=live.lifespan)
app.include_router(live.router("/streams"))
news = live.channel("news", history=1000)


async def count(id_: str, items: int, pause: float) -> AsyncIterator[Any]:
    print(f"begin {id_}", flush=True)
    try:
        for n in range(items):
            yield {"n": n, "text": "ü" * (n % 50)}
            await anyio.sleep(pause)
    finally:
        print(f"end {id_}", flush=True)


@app.api_route("/start/{id_}", methods=["GET", "POST"])
async def start(id_: str, items: int = 100, pause: float = 0.01) -> Any:
    run = await live.start(count(id_, items, pause), id=id_)
    return SSEStreamingResponse(run.follow(), headers=run.headers)


@app.post("/begin/{id_}")
async def begin(
    id_: str, items: int = 100, pause: float = 0.01, linger: float | None = None
) -> str:
    return (await live.start(count(id_, items, pause), id=id_, linger=linger)).id


@app.get("/news")
async def read_news(request: Request, after: str | None = None) -> Any:
    return SSEStreamingResponse(news.follow(last_event_id(request) or after))


@app.post("/news")
async def publish(items: int = 1, size: int = 0) -> str:
    if not size:
        return [await news.publish({"n": n}) for n in range(items)][-1]
    # Those that are ready together go in one round trip.
    async with anyio.create_task_group() as group:
        for n in range(items):
            group.start_soon(news.publish, {"n": n, "text": "x" * size})
    return ""


PAGE = """
<!doctype html><title>live</title><link rel="icon" href="data:,">
<script>
  // What was seen outlives a reload, and so does the last id.
  window.seen = JSON.parse(sessionStorage.seen || "[]")
  const query = sessionStorage.last ? "?after=" + sessionStorage.last : ""
  window.source = new EventSource(location.hash.slice(1) + query)
  source.onmessage = event => {
    seen.push(JSON.parse(event.data).n)
    sessionStorage.seen = JSON.stringify(seen)
    sessionStorage.last = event.lastEventId
  }
</script>
"""


@app.get("/page", response_class=HTMLResponse)
async def page() -> str:
    return PAGE
