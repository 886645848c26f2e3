"""The demo's streams that are compressed, or have a rate and a number of places."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

import pytest

from streamkit.demo import app as demo
from streamkit.demo.record import KEPT
from streamkit.testing import fetch, stream


async def told_of(play: str) -> list[Any]:
    """What the record tells of the streams that bear a name."""
    text = ""
    async with stream(demo.app, "/record") as client:
        while not (found := re.search(r"data: (.+)\n\n", text)):
            text += (await anext(client)).decode()
    return [entry for entry in json.loads(found[1])["streams"] if entry["play"] == play]


@pytest.mark.anyio
class TestCompressed:
    async def test_a_row_that_comes_alone_can_be_read_at_once(self) -> None:
        inflate, plain, coded, alone = zlib.decompressobj(wbits=31), b"", 0, 0
        headers = {"accept-encoding": "gzip"}
        async with stream(demo.app, "/compressed.jsonl", headers=headers) as client:
            assert client.headers["content-encoding"] == "gzip"
            async for chunk in client:
                text = inflate.decompress(chunk)
                plain, coded = plain + text, coded + len(chunk)
                # The next row is made a fifth of a second later.
                alone += text.endswith(b"}\n") and text.count(b"\n") == 1
                if alone == 3:
                    break
        rows = [json.loads(line) for line in plain.splitlines()]
        assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
        assert 500 < len(rows) < 510
        assert coded < len(plain) / 4

    async def test_who_asks_for_no_coding_gets_plain_rows(self) -> None:
        async with stream(demo.app, "/compressed.jsonl") as client:
            assert "content-encoding" not in client.headers
            assert client.headers["vary"] == "Accept-Encoding"
            assert (await anext(client)).startswith(b'{"number":1,')


@pytest.mark.anyio
class TestLimited:
    async def test_it_flows_at_its_rate(self) -> None:
        async with stream(demo.app, "/limited") as client:
            chunks = [await anext(client) for _ in range(12)]
        sizes = [len(chunk) for chunk in chunks[1:]]
        # 20 kB a second, after what may leave at once.
        assert sum(sizes) <= 20_000 * (chunks[-1].at - chunks[0].at + 0.2)

    async def test_one_more_stream_of_a_client_is_a_503(self) -> None:
        async with stream(demo.app, "/limited") as client:
            await anext(client)
            refused = await fetch(demo.app, "/limited?play=refused")
        assert (refused.status, refused.headers["retry-after"]) == (503, "5")
        [told] = await told_of("refused")
        assert (told["status"], told["ended"]["reason"]) == (503, "error")
        # The place is free again.
        async with stream(demo.app, "/limited") as client:
            assert client.status == 200

    async def test_the_record_forgets_who_was_refused(self) -> None:
        async with stream(demo.app, "/limited") as client:
            await anext(client)
            for _ in range(KEPT + 10):
                assert (await fetch(demo.app, "/limited?play=crowd")).status == 503
            assert len(await told_of("crowd")) <= KEPT + 1


def test_the_documentation_shows_what_they_send() -> None:
    paths = demo.app.openapi()["paths"]
    content = {
        path: paths[path]["get"]["responses"]["200"]["content"]
        for path in ("/compressed.jsonl", "/limited")
    }
    rows = content["/compressed.jsonl"]["application/jsonl"]["schema"]
    assert rows["items"] == {"$ref": "#/components/schemas/Reading"}
    assert list(content["/limited"]) == ["text/plain"]
