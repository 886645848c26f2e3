"""A content that goes on without its client."""

from __future__ import annotations

from typing import Protocol
from urllib.parse import quote

from streamkit.live.core import Core
from streamkit.live.follow import Follow

__all__ = ["Run", "Runs"]


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
