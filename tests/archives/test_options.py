"""The start and the options that every response has, of archives as well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from streamkit import Member, ResponseStart, TARStreamingResponse, ZIPStreamingResponse
from streamkit.testing import fetch
from tests.archives.members import UNPACK

pytestmark = pytest.mark.anyio
both = pytest.mark.parametrize("response_class", [ZIPStreamingResponse, TARStreamingResponse])


async def as_async(items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


GIVEN: dict[str, Callable[[list[Any]], Any]] = {"sync": iter, "async": as_async}


@both
@pytest.mark.parametrize("given", ["sync", "async"])
@pytest.mark.parametrize("names", [[], ["a", "b"]])
async def test_a_start_is_no_member(response_class: Any, given: str, names: list[str]) -> None:
    items = [ResponseStart(201, {"X-Total": "2"}), *(Member(name, name) for name in names)]
    received = await fetch(response_class(GIVEN[given](items)))

    assert (received.status, received.headers["x-total"]) == (201, "2")
    assert UNPACK[response_class](received.body) == {name: name.encode() for name in names}


@pytest.mark.parametrize("given", ["sync", "async"])
async def test_a_start_goes_before_ready_chunks(given: str) -> None:
    items = [ResponseStart(201), b"PK", b"..."]
    received = await fetch(ZIPStreamingResponse(GIVEN[given](items)))
    assert (received.status, received.body) == (201, b"PK...")
