"""What the tests of the typed responses share: each class with an item and a body, and readers."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest

from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    ServerSentEvent,
    SSEStreamingResponse,
)
from streamkit.testing import FetchedResponse, fetch
from tests.conftest import BACKENDS

ASYNCIO, UVLOOP, TRIO = BACKENDS

PATIENCE = 10.0
SECRET = "postgres://user:password@db"


class Camera(MultipartStreamingResponse):
    part_media_type = "image/png"
    boundary = "frame"


# a class, an item of it, and the body that two such items make
FORMATS: list[Any] = [
    pytest.param(JSONLinesStreamingResponse, {"id": 1}, b'{"id":1}\n' * 2, id="jsonlines"),
    pytest.param(JSONArrayStreamingResponse, {"id": 1}, b'[{"id":1},{"id":1}]', id="jsonarray"),
    pytest.param(
        SSEStreamingResponse,
        ServerSentEvent("a", event="token"),
        b"event: token\ndata: a\n\n" * 2,
        id="sse",
    ),
    pytest.param(CSVStreamingResponse, {"id": 1}, b"id\r\n1\r\n1\r\n", id="csv"),
    pytest.param(
        Camera,
        b"png",
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame\r\nContent-Type: image/png\r\n\r\npng"
        b"\r\n--frame--\r\n",
        id="multipart",
    ),
]
every_format = pytest.mark.parametrize(("kind", "item", "body"), FORMATS)


async def get(response: Any, **headers: str) -> FetchedResponse:
    """Call one response, as a server would."""
    with anyio.fail_after(PATIENCE):
        return await fetch(response, headers=headers)


def read_lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]
