"""Validators given for a stream: they are sent, and a client that has it gets no content."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from streamkit import CSVStreamingResponse, StreamingResponse, StreamOutcome
from streamkit.testing import fetch

pytestmark = pytest.mark.anyio

THEN = datetime(2024, 5, 1, 12, tzinfo=UTC)
DATE = "Wed, 01 May 2024 12:00:00 GMT"
LATER = "Thu, 02 May 2024 12:00:00 GMT"
EARLIER = "Tue, 30 Apr 2024 12:00:00 GMT"


class Content:
    """Items that say whether they were asked for, and closed."""

    def __init__(self) -> None:
        self.log: list[str] = []

    def close(self) -> None:
        self.log.append("closed")


class Sync(Content):
    def __iter__(self) -> Iterator[bytes]:
        self.log.append("opened")
        yield b"text"


class Async(Content):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        self.log.append("opened")
        yield b"text"


@pytest.fixture(params=[Sync, Async])
def content(request: pytest.FixtureRequest) -> Any:
    return request.param()


async def test_validators_of_a_stream_are_sent(content: Any) -> None:
    got = await fetch(StreamingResponse(content, etag='"v7"', last_modified=THEN))
    assert (got.status, got.body, got.complete) == (200, b"text", True)
    assert (got.headers["etag"], got.headers["last-modified"]) == ('"v7"', DATE)
    assert "accept-ranges" not in got.headers
    assert "content-length" not in got.headers


@pytest.mark.parametrize(
    ("given", "asked", "status"),
    [
        ({"etag": '"v7"'}, {"if-none-match": '"v7"'}, 304),
        ({"etag": 'W/"v7"'}, {"if-none-match": '"v6", "v7"'}, 304),
        ({"etag": '"v7"'}, {"if-none-match": "*"}, 304),
        ({"etag": '"v7"'}, {"if-none-match": '"v6"'}, 200),
        ({"etag": '"v7"'}, {"if-match": '"v6"'}, 412),
        ({"etag": '"v7"'}, {"range": "bytes=0-1"}, 200),
        ({"last_modified": THEN}, {"if-modified-since": DATE}, 304),
        ({"last_modified": THEN}, {"if-modified-since": LATER}, 304),
        ({"last_modified": THEN}, {"if-modified-since": EARLIER}, 200),
        ({"last_modified": THEN}, {"if-unmodified-since": EARLIER}, 412),
        ({"headers": {"ETag": '"v7"'}}, {"if-none-match": '"v7"'}, 304),
        ({"headers": {"ETag": "v7"}}, {"if-none-match": '"v7"'}, 304),
        ({"headers": {"ETag": '"v7"'}, "etag": False}, {"if-none-match": '"v7"'}, 304),
        ({"etag": False}, {"if-none-match": '"v7"'}, 200),
        ({"etag": '"v7"', "status_code": 201}, {"if-none-match": '"v7"'}, 201),
        ({}, {"if-none-match": "*"}, 200),
    ],
)
async def test_a_client_that_has_it_gets_no_content(
    content: Any, given: dict[str, Any], asked: dict[str, str], status: int
) -> None:
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(content, on_close=outcomes.append, **given)
    got = await fetch(response, headers=asked)
    assert got.status == status
    assert outcomes[0].reason == "complete"
    if status < 300:
        assert (got.body, content.log) == (b"text", ["opened", "closed"])
    else:
        assert (got.body, got.complete, content.log) == (b"", True, ["closed"])


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_to_another_method_it_is_the_result_of_an_action(content: Any, method: str) -> None:
    response = StreamingResponse(content, etag='"v7"')
    got = await fetch(response, method=method, headers={"if-none-match": '"v7"'})
    assert (got.status, got.body) == (200, b"text")
    assert "etag" not in got.headers


async def test_a_304_says_of_the_content_what_it_has_to(content: Any) -> None:
    response = CSVStreamingResponse(
        content,
        filename="a.csv",
        headers={"Cache-Control": "max-age=60", "Vary": "Cookie"},
        etag='"v7"',
        last_modified=THEN,
    )
    got = await fetch(response, headers={"if-none-match": '"v7"'})
    assert dict(got.headers) == {"cache-control": "max-age=60", "vary": "Cookie", "etag": '"v7"'}


async def test_head_has_the_validators_too(content: Any) -> None:
    got = await fetch(StreamingResponse(content, etag='"v7"'), method="HEAD")
    assert (got.status, got.headers["etag"], got.body) == (200, '"v7"', b"")
    response = StreamingResponse(Sync(), etag='"v7"')
    got = await fetch(response, method="HEAD", headers={"if-none-match": '"v7"'})
    assert got.status == 304
