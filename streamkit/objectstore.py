"""Objects in S3, GCS, Azure, on HTTP, disk or in memory as sources, through `obstore`."""

from __future__ import annotations

import errno
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from streamkit.errors import SourceError
from streamkit.http.conditions import mended_etag
from streamkit.pagecache import READ_SIZE
from streamkit.sources import ByteSource, Given, SourceInfo
from streamkit.threads import run_abandonable

if TYPE_CHECKING:
    from obstore import Attributes, BytesStream, GetOptions, GetResult, ObjectMeta
    from obstore.store import ObjectStore

__all__ = ["ObjectStoreSource"]

T = TypeVar("T")

# Attributes that are headers of the response too; the others are the store's own affair.
_HEADERS = ("Cache-Control", "Content-Disposition", "Content-Encoding", "Content-Language")
# What a field value may hold (RFC 9110 §5.5); a store may have kept more.
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]+")


class ObjectStoreSource(ByteSource):
    """An object in a store of `obstore`; extra `streamkit[obstore]`.

    Ranges are passed through to the store; the whole object is asked for without one. What `info`
    saw is pinned for the whole response: if the object changes midway, the next request to the
    store fails, and the body is cut. A request that breaks off midway, as one does that a slow
    client has kept open longer than the store's timeout, is taken up again where it stood. The
    store is lent, not closed.

    The Content-Type, Cache-Control, Content-Disposition, Content-Encoding and Content-Language that
    are stored with the object are sent unless the response has its own. `etag`, `last_modified`
    and `media_type` go before what the store says, and change nothing about what is pinned; False
    for `etag` or `last_modified` says none.

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
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        media_type: str | None = None,
    ) -> None:
        try:
            import obstore
        except ImportError as exc:
            raise ImportError(
                "ObjectStoreSource needs obstore: pip install 'streamkit[obstore]'"
            ) from exc
        from obstore.exceptions import GenericError, PreconditionError

        self._get = partial(obstore.get, store, path)
        self._broken_off, self._refused = GenericError, PreconditionError
        self._path = path
        self._given = Given(etag, last_modified, media_type)
        self._pinned: ObjectMeta | None = None

    async def info(self) -> SourceInfo:
        result = await self._pin()
        meta, attributes = result.meta, result.attributes
        info = SourceInfo(
            meta["size"],
            _entity_tag(meta["e_tag"]),
            _known(meta["last_modified"]),
            _stored(attributes, "Content-Type"),
            tuple((name, value) for name in _HEADERS if (value := _stored(attributes, name))),
        )
        return self._given.over(info)

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        pinned = self._pinned or (await self._pin()).meta
        position, end = start, pinned["size"] if end is None else end
        while position < end:
            opened = position
            chunks = _Chunks(partial(self._open, pinned, position, end))
            try:
                while (chunk := await _on_thread(chunks.next)) is not None:
                    position += len(chunk)
                    yield chunk
                return
            except self._broken_off:
                if position == opened:
                    raise
            finally:
                chunks.close()

    async def _pin(self) -> GetResult:
        try:
            result = await _on_thread(partial(self._get, options={"head": True}))
        except ValueError as exc:
            # A path with "..", say, which no object of any store can have.
            raise FileNotFoundError(errno.ENOENT, str(exc), self._path) from exc
        self._pinned = result.meta
        return result

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


class _Chunks:
    """The body of one request to the store, opened by the first `next`.

    `close` lets go of the store's stream, which ends the request. References to this object may
    outlive it, in the traceback of a cancellation or on a thread that was left alone.
    """

    def __init__(self, open_it: Callable[[], BytesStream]) -> None:
        self._open = open_it
        self._stream: BytesStream | None = None
        self._closed = False

    def next(self) -> Any:
        """The next chunk; None at the end. Blocks, on a thread."""
        stream = self._stream
        if stream is None:
            stream = self._stream = self._open()
            # Set ours before reading theirs: one side always sees the other.
            if self._closed:
                self._stream = None
                return None
        return next(stream, None)

    def close(self) -> None:
        self._closed = True
        self._stream = None


async def _on_thread(function: Callable[[], T]) -> T:
    """Run one of obstore's sync functions, and leave it alone if the client leaves meanwhile.

    Its coroutines need asyncio. They also settle on threads of their own, which may come back to
    an interpreter that is about to exit: CPython ends such a thread where it stands, and Rust then
    aborts the process.
    """
    return await run_abandonable(function)


def _version(meta: ObjectMeta, pinned: ObjectMeta) -> Any:
    """What tells an object from what it was before, as far as the store said it at first."""
    return meta["e_tag"] if pinned["e_tag"] else (meta["last_modified"], meta["size"])


def _entity_tag(etag: str | None) -> str | None:
    """A store's tag as a header's, if it can be one; not all stores write the quotes."""
    tag = None if etag is None else mended_etag(etag)
    return None if tag is None else str(tag)


def _stored(attributes: Attributes, name: str) -> str | None:
    """An attribute as the value of a header, if it can be one."""
    value = attributes.get(name)
    if name == "Content-Encoding" and value is not None:
        # What some uploads leave there is about the upload, and is not in the object.
        value = ", ".join(
            code for code in re.split(r"[ \t]*,[ \t]*", value) if code != "aws-chunked"
        )
    return value if value and _VALUE.fullmatch(value) else None


def _known(modified: datetime) -> datetime | None:
    """The time, unless it is the epoch, which obstore has for a server that gives none."""
    return modified if modified.timestamp() else None
