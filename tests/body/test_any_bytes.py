"""Any bytes, as any type, cut anywhere, at any timing, arrive unchanged."""

from __future__ import annotations

import array
import random
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamkit import StreamingResponse
from streamkit.testing import fetch

pytestmark = pytest.mark.anyio


def as_type(data: bytes, kind: str) -> Any:
    match kind:
        case "bytearray":
            return bytearray(data)
        case "memoryview":
            return memoryview(data)
        case "every other byte":
            return memoryview(bytes(byte for one in data for byte in (one, 0)))[::2]
        case "array":
            return array.array("B", data)
        case "str":
            return data.decode("latin-1")
    return data


KINDS = ["bytes", "bytearray", "memoryview", "every other byte", "array", "str"]
PIECES = st.lists(
    st.tuples(
        st.one_of(st.binary(max_size=20), st.binary(min_size=1000, max_size=1000)),
        st.sampled_from(KINDS),
        st.sampled_from([None, None, None, "turn", "sleep"]),
    ),
    max_size=25,
)


@pytest.mark.parametrize("flavour", ["sync", "async"])
@settings(max_examples=40)
@given(pieces=PIECES, max_buffer=st.sampled_from([1, 30, 65536]), affine=st.booleans())
async def test_any_bytes_arrive_unchanged(
    flavour: str, pieces: list[tuple[bytes, str, str | None]], max_buffer: int, affine: bool
) -> None:
    def sync_items() -> Iterator[Any]:
        for data, kind, pause in pieces:
            if pause:
                time.sleep(0 if pause == "turn" else random.random() / 2000)
            yield (item := as_type(data, kind))
            if isinstance(item, bytearray):
                item[:] = b"?" * len(item)

    async def async_items() -> AsyncIterator[Any]:
        for data, kind, pause in pieces:
            if pause:
                await anyio.sleep(0 if pause == "turn" else random.random() / 2000)
            yield (item := as_type(data, kind))
            if isinstance(item, bytearray):
                item[:] = b"?" * len(item)

    response = StreamingResponse(
        sync_items() if flavour == "sync" else async_items(),
        charset="latin-1",
        max_buffer=max_buffer,
        thread_affine=affine,
    )
    received = await fetch(response, suspend_on_send=max_buffer == 30)
    assert received.complete
    assert received.body == b"".join(data for data, _, _ in pieces)
