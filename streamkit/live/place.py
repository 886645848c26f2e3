"""Where a reader begins: an id of the log, and the first records after it."""

from __future__ import annotations

from streamkit.live.core import Core
from streamkit.live.errors import Gone
from streamkit.live.log import Info
from streamkit.live.records import END, Record

__all__ = ["LARGEST_PAGE", "PAGE", "Place"]

# Records in the first page of a replay, and in the largest, if items are small.
PAGE, LARGEST_PAGE = 16, 1024


class Place:
    """Finds it, for one reader of a run or channel; a channel gives at most `history` items."""

    def __init__(
        self, core: Core, name: str, is_channel: bool, history: int, max_age: float | None
    ) -> None:
        self._core = core
        self._name = name
        self._is_channel = is_channel
        self._history = history
        self._max_age = max_age

    async def oldest(self, info: Info) -> str:
        """The id before the oldest item that may be given."""
        if not self._is_channel:
            return info.origin
        if not self._history:
            return info.last
        return await self._core.log.oldest(self._name, self._history, self._max_age)

    async def after(self, info: Info, after: str, skip: int) -> tuple[str, list[Record]]:
        """The id `skip` items after an id, and records after it, if some were read.

        Raises `Gone` if the id was never given, if items after it are gone, or if there are fewer.
        """
        if self._is_channel and after < await self.oldest(info):
            raise Gone(after)
        tail = self._core.find(self._name, self._is_channel)
        if not skip and tail is not None and tail.has(after):
            return after, []
        page = await self._read(after, max(skip, PAGE))
        while skip:
            items = [record for record in page[:skip] if record.kind != END]
            if not items:
                raise Gone(after)
            after, skip, page = items[-1].id, skip - len(items), page[len(items) :]
            if skip:
                page = page or await self._read(after, skip)
        return after, page

    async def _read(self, after: str, limit: int) -> list[Record]:
        return await self._core.log.read(
            self._name, after, min(limit, LARGEST_PAGE), channel=self._is_channel
        )
