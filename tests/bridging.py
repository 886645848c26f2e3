"""What the tests of the bridges between threads and the loop share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio


class Broken(Exception):
    pass


async def collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]


async def until(holds: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not holds():  # noqa: ASYNC110
            await anyio.sleep(0.001)
