"""Objects in S3, GCS, Azure, on HTTP, disk or in memory as sources, through `obstore`."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio.to_thread

from streamkit.errors import SourceError
from streamkit.pagecache import READ_SIZE
from streamkit.threads import stream_limiter
from streamkit.sources import ByteSource, SourceInfo

if TYPE_CHECKING:
    from obstore import BytesStream, GetOptions, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["ObjectStoreSource"]

T = TypeVar("T")


class ObjectStoreSource(ByteSource):
    """An object in a store of `obstore`; extra `streamkit[obstore]`.

    Ranges are passed through to the store; the whole object is asked for without one. What `info`
    saw is pinned for the whole response: if the object changes midway, the next request to the
    store fails, and the body is cut. A request that breaks off midway, as one does that a slow
    client has kept open longer than the store's timeout, is taken up again where it stood. The
    store is lent, not closed.

    `etag`, `last_modified` and `media_type` go before what the store says, and change nothing
    about what is pinned.

    Raises `ImportError` without the extra; from `info`, `FileNotFoundError` for a missing object,
    and what the store raises; from `read`, `SourceError` for an object that has changed.

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
        from obstore.exceptions import GenericError, PreconditionError

        self._head = partial(obstore.head, store, path)
        self._get = partial(obstore.get, store, path)
        self._broken_off, self._refused = GenericError, PreconditionError
        self._path = path
        self._given = SourceInfo(None, etag, last_modified, media_type)
        self._pinned: ObjectMeta | None = None

    async def info(self) -> SourceInfo:
        meta = await self._pin()
        return SourceInfo(
            meta["size"],
            self._given.etag or _entity_tag(meta["e_tag"]),
            self._given.last_modified or _known(meta["last_modified"]),
            self._given.media_type,
        )

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        pinned = self._pinned or await self._pin()
        position, end = start, pinned["size"] if end is None else end
        while position < end:
            opened = position
            chunks = await _on_thread(partial(self._open, pinned, position, end))
            try:
                while (chunk := await _on_thread(partial(next, chunks, None))) is not None:
                    position += len(chunk)
                    yield chunk
                return
            except self._broken_off:
                if position == opened:
                    raise

    async def _pin(self) -> ObjectMeta:
        try:
            meta = await _on_thread(self._head)
        except ValueError as exc:
            # A path with "..", say, which no object of any store can have.
            raise FileNotFoundError(errno.ENOENT, str(exc), self._path) from exc
        self._pinned = meta
        return meta

    def _open(self, pinned: ObjectMeta, start: int, end: int) -> BytesStream:
        options: GetOptions = {}
        if (start, end) != (0, pinned["size"]):
            options["range"] = (start, end)
        etag = pinned["e_tag"]
        # If-Match compares strongly, so that a weak tag never matches (RFC 9110 §13.1.1).
        if etag is not None and not etag.startswith("W/"):
            options["if_match"] = etag
        try:
            result = self._get(options=options)
        except self._refused as exc:
            raise self._changed() from exc
        # Not every store heeds If-Match, nor has every object a tag.
        if _version(result.meta, pinned) != _version(pinned, pinned):
            raise self._changed()
        return result.stream(READ_SIZE)

    def _changed(self) -> SourceError:
        return SourceError(f"the object {self._path!r} changed while it was sent")


async def _on_thread(function: Callable[[], T]) -> T:
    """Run one of obstore's sync functions, and leave it alone if the client leaves meanwhile.

    Its coroutines need asyncio. They also settle on threads of their own, which may come back to
    an interpreter that is about to exit: CPython ends such a thread where it stands, and Rust then
    aborts the process.
    """
    return await anyio.to_thread.run_sync(
        function, abandon_on_cancel=True, limiter=stream_limiter()
    )


def _version(meta: ObjectMeta, pinned: ObjectMeta) -> Any:
    """What tells an object from what it was before, as far as the store said it at first."""
    return meta["e_tag"] if pinned["e_tag"] else (meta["last_modified"], meta["size"])


def _entity_tag(etag: str | None) -> str | None:
    """A store's tag as a header's; not all stores write the quotes."""
    return etag if etag is None or etag.endswith('"') else f'"{etag}"'


def _known(modified: datetime) -> datetime | None:
    """The time, unless it is the epoch, which obstore has for a server that gives none."""
    return modified if modified.timestamp() else None
