"""The programs of the pages about live streams do what the pages say."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit.testing import fetch, stream
from tests.documentation import run_example, run_program
from tests.live.conftest import RedisServer
from tests.live.support import data, events, ids

DOCS = Path(__file__).parents[2] / "docs" / "how-to"


def program(name: str, number: int = 0) -> dict[str, Any]:
    page = DOCS / f"{name}.md"
    source = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)[number]
    return run_program(source, str(page), 1)


def run(app: Any, function: Callable[[], Any]) -> None:
    async def main() -> None:
        with anyio.fail_after(60):
            async with app.router.lifespan_context(app):
                await function()

    anyio.run(main)


def test_an_answer_survives_a_reload() -> None:
    app = program("resume")["app"]

    async def reload() -> None:
        async with stream(app, "/chat", method="POST") as client:
            location = client.headers["location"]
            begin = await anext(aiter(client)) + await anext(aiter(client))
            await client.disconnect()
        rest = await fetch(app, location, headers={"last-event-id": ids(begin)[-1]})
        words = [word for (word,) in data(begin) + data(rest.body)]
        assert "".join(words) == "An answer that goes on while you reload the page "
        again = await fetch(app, location, headers={"last-event-id": ids(rest.body)[-1]})
        assert (again.status, again.headers["stream-state"]) == (204, "done")

    run(app, reload)


def test_a_limit_refuses_before_a_run_begins() -> None:
    names = program("limits", 1)
    app, gate = names["app"], anyio.Event()
    begun: list[None] = []

    async def answer() -> AsyncIterator[int]:
        begun.append(None)
        yield 1
        await gate.wait()

    names["answer"] = answer

    async def ask() -> None:
        account = {"x-account": "7"}
        async with (
            stream(app, "/chat", method="POST", headers=account) as first,
            stream(app, "/chat", method="POST", headers=account) as second,
        ):
            await anext(first)
            await anext(second)
            refused = await fetch(app, "/chat", method="POST", headers=account)
            other = stream(app, "/chat", method="POST", headers={"x-account": "8"})
            async with other as client:
                assert client.status == 200
            gate.set()
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        assert len(begun) == 3
        assert names["answers"].open == 0
        assert (await fetch(app, "/chat", method="POST", headers=account)).status == 200

    run(app, ask)


def test_late_readers_of_a_channel_get_its_history() -> None:
    app = program("broadcast")["app"]

    async def read() -> None:
        await anyio.sleep(0.5)
        async with stream(app, "/prices") as client:
            body = b""
            async for chunk in client:
                body += chunk
                if len(events(body)) > 6:
                    break
        prices = [item["eur"] for item in data(body)]
        assert prices == list(range(100, 100 + len(prices)))

    run(app, read)


def test_processes_share_runs_and_channels(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server.url)
    one, two = program("more-than-one-worker")["app"], program("more-than-one-worker")["app"]

    async def share() -> None:
        async with two.router.lifespan_context(two):
            async with stream(one, "/count/a", method="POST") as client:
                await anext(aiter(client))
                async with stream(two, "/streams/a") as other:
                    assert other.status == 200
                    while b"data" not in await anext(aiter(other)):
                        pass
                    await other.disconnect()
                await client.disconnect()
            async with stream(two, "/clicks") as watching:
                assert watching.status == 200
                await fetch(one, "/click", method="POST")
                while b"process" not in await anext(aiter(watching)):
                    pass
                await watching.disconnect()
            assert (await fetch(two, "/streams/a", method="DELETE")).status == 204

    run(one, share)


def test_the_answer_of_a_model_goes_on_without_its_client() -> None:
    app = run_example("llm_resume")["app"]
    question = {"model": "tiny", "messages": []}

    async def leave_and_come_back() -> None:
        body = json.dumps(question).encode()
        headers = {"content-type": "application/json"}
        path = "/v1/chat/completions"
        async with stream(app, path, method="POST", body=body, headers=headers) as client:
            location = client.headers["location"]
            begin = await anext(client)
            await client.disconnect()
        assert b"id:" not in begin
        whole = (await fetch(app, location)).body
        rest = (await fetch(app, location, headers={"last-event-id": ids(whole)[1]})).body
        assert whole.count(b"data: ") == 5
        assert whole.endswith(rest.partition(b"\n\n")[2])
        assert rest.endswith(b"data: [DONE]\n\n")
        assert rest.count(b"data: ") == 4

    run(app, leave_and_come_back)
