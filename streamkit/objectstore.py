"""Objects in S3, GCS, Azure, on HTTP, disk or in memory as sources, through `obstore`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from streamkit import backend
from streamkit.bridge import iterate_in_threadpool
from streamkit.producers import run_in_stream_thread
from streamkit.sources import ByteSource, SourceInfo

if TYPE_CHECKING:
    from obstore.store import ObjectStore

__all__ = ["ObjectStoreSource"]


class ObjectStoreSource(ByteSource):
    """An object in a store of `obstore`; extra `streamkit[obstore]`.

    Ranges are passed through to the store, chunk by chunk as it delivers them. The object's ETag
    is pinned for the whole response: if the object changes midway, the next read fails, and the
    body is cut. The store is lent, not closed.

    Raises `ImportError` without the extra; from `info`, `FileNotFoundError` for a missing object,
    and what the store raises.

        store = S3Store("bucket", region="eu-central-1")
        MP4StreamingResponse(ObjectStoreSource(store, "film.mp4"))
    """

    def __init__(
        self,
        store: ObjectStore,
        path: str,
        *,
        etag: str | None = None,
        last_modified: datetime | None = None,
        media_type: str | None = None,
    ) -> None:
        try:
            import obstore
        except ImportError as exc:
            raise ImportError(
                "ObjectStoreSource needs obstore: pip install 'streamkit[obstore]'"
            ) from exc
        self._obstore = obstore
        self._store = store
        self._path = path
        self._given = SourceInfo(None, etag, last_modified, media_type)
        self._pinned: str | None = None

    async def info(self) -> SourceInfo:
        # obstore's own coroutines need asyncio.
        if backend.in_trio():
            meta = await run_in_stream_thread(self._obstore.head, self._store, self._path)
        else:
            meta = await self._obstore.head_async(self._store, self._path)
        self._pinned = meta["e_tag"]
        return SourceInfo(
            meta["size"],
            self._given.etag or _entity_tag(self._pinned),
            self._given.last_modified or meta["last_modified"],
            self._given.media_type,
        )

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        if end is not None and start >= end:
            return
        options: Any = {"range": (start, end) if end is not None else {"offset": start}}
        if self._pinned is not None:
            options["if_match"] = self._pinned
        chunks: AsyncIterator[Any]
        if backend.in_trio():
            result = await run_in_stream_thread(
                lambda: self._obstore.get(self._store, self._path, options=options)
            )
            chunks = iterate_in_threadpool(result.stream())
        else:
            response = await self._obstore.get_async(self._store, self._path, options=options)
            chunks = aiter(response.stream())
        async for chunk in chunks:
            yield bytes(chunk)


def _entity_tag(etag: str | None) -> str | None:
    """A store's tag as a header's; not all stores write the quotes."""
    return etag if etag is None or etag.endswith('"') else f'"{etag}"'
