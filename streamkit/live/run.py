"""A content that goes on without its client."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable, Iterable
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

import anyio

from streamkit import loop
from streamkit.closing import close_async
from streamkit.live.checks import check_id, check_seconds
from streamkit.live.content import as_async
from streamkit.live.core import Core
from streamkit.live.follow import Follow
from streamkit.live.log import Info
from streamkit.live.producer import Producer
from streamkit.live.records import end_payload
from streamkit.live.tail import Tail

__all__ = ["Run", "Runs", "launch"]


class Runs(Protocol):
    """What a run, and the routes of all runs, need of a `Live`."""

    _core: Core
    _path: str | None

    def follow(self, id: str, after: str | None = None, *, gap: str | None = None) -> Follow: ...  # noqa: A002
    async def state(self, id: str) -> str | None: ...  # noqa: A002
    async def cancel(self, id: str) -> str | None: ...  # noqa: A002


class Run:
    """A content that goes on without its client; made by `Live.start`."""

    def __init__(self, live: Runs, id: str) -> None:  # noqa: A002
        self._live = live
        self.id = id

    def __repr__(self) -> str:
        return f"Run({self.id!r})"

    @property
    def headers(self) -> dict[str, str]:
        """`Location`, under the router's prefix or `Live(path=...)`; empty without either."""
        path = self._live._path
        return {} if path is None else {"Location": f"{path}/{quote(self.id, safe='')}"}

    def follow(self, after: str | None = None, *, gap: str | None = None) -> Follow:
        """Content for a response: as `Live.follow`."""
        return self._live.follow(self.id, after, gap=gap)

    async def cancel(self) -> str | None:
        """As `Live.cancel`."""
        return await self._live.cancel(self.id)

    async def wait(self) -> str:
        """Wait for its end, without counting as a reader: "done", "failed" or "cancelled".

        Raises `UnknownStream` if it has expired, and `LogUnavailable`.
        """
        return await self._live._core.wait(self.id)


async def launch(
    core: Core,
    content: AsyncIterable[Any] | Iterable[Any],
    id_: str | None,
    linger: float | None,
) -> str:
    """Begin a run, or close the content where there is one of that id; gives the id."""
    items = as_async(content)
    name = secrets.token_urlsafe(16) if id_ is None else id_
    origin: str | None = None
    tail: Tail | None = None
    try:
        core.check_running()
        check_id(name)
        if linger is not None:
            check_seconds("linger", linger)
        origin = await core.log.begin(name, ttl=core.ttl, lease=core.lease, linger=linger)
        if origin is not None:
            core.begin(name, origin)
            tail = await core.hold(name, Info(origin, origin, None, linger))
    except BaseException:
        await _close(items)
        if origin is not None:
            _give_up(core, name)
        raise
    if tail is None:
        await _close(items)
    else:
        core.produce(
            Producer(
                core.log,
                name,
                items,
                tail,
                linger=linger,
                ttl=core.ttl,
                on_closed=core.closed,
            )
        )
    return name


async def _close(items: AsyncIterable[Any]) -> None:
    with anyio.CancelScope(shield=True):
        await close_async(items)


def _give_up(core: Core, name: str) -> None:
    async def end() -> None:
        # If the log doesn't answer, the lease runs out.
        with suppress(Exception):
            await core.end(name, end_payload("failed", "not started"))

    loop.spawn(end)
