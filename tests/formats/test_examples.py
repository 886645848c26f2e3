"""The examples of the documentation that show a format each."""

from __future__ import annotations

import json
import runpy
from typing import Any

import anyio
import pytest

from streamkit.testing import fetch, stream
from tests.documentation import ROOT
from tests.formats.support import PATIENCE, read_lines

pytestmark = pytest.mark.anyio


def example(name: str) -> Any:
    return runpy.run_path(str(ROOT / "docs" / "examples" / f"{name}.py"))["app"]


async def test_the_example_of_json_lines() -> None:
    response = await fetch(example("json_lines"), "/items")

    assert response.headers["content-type"] == "application/jsonl"
    assert read_lines(response.body)[0] == {"name": "Plumbus", "price": "19.99"}
    document = json.loads((await fetch(example("json_lines"), "/openapi.json")).body)
    content = document["paths"]["/items"]["get"]["responses"]["200"]["content"]
    assert content["application/jsonl"]["schema"]["items"] == {"$ref": "#/components/schemas/Item"}


async def test_the_example_of_server_sent_events() -> None:
    app = example("server_sent_events")
    with anyio.fail_after(PATIENCE):
        async with stream(app, "/ticks") as client:
            assert await anext(client) == b'id: 1\ndata: {"tick":1}\n\n'
        async with stream(app, "/ticks", headers={"last-event-id": "41"}) as client:
            assert await anext(client) == b'id: 42\ndata: {"tick":42}\n\n'


async def test_the_example_of_csv() -> None:
    response = await fetch(example("csv_export"), "/orders.csv")

    assert response.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert response.body.decode("utf-8-sig").splitlines()[:2] == [
        "id,customer,total",
        "1,Rick,19.99",
    ]


async def test_the_example_of_moving_pictures() -> None:
    app = example("moving_pictures")
    with anyio.fail_after(PATIENCE):
        async with stream(app, "/film") as client:
            assert client.headers["content-type"].startswith("multipart/x-mixed-replace; boundary=")
            first = await anext(client)
        assert first.count(b"Content-Type: image/svg+xml\r\n\r\n") == 2
        page = await fetch(app, "/")
    assert b'<img src="/film"' in page.body
