"""Sources of bytes: their info, their spans, and validators that are given instead of theirs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from streamkit.http.conditions import Validators
from streamkit.pagecache import READ_SIZE

__all__ = ["ByteSource", "BytesSource", "Given", "SourceInfo"]


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """Size, validators and type of a source, known before it is read.

    `size` in bytes, None if unknown: then there are no ranges. `etag` is the header's value with
    its quotes, `last_modified` an aware datetime, `media_type` used when the response has none.
    `headers` are further ones that are kept with the content, such as `Cache-Control`: each is
    sent unless the response has its own.

        SourceInfo(1024, etag='"v7"', media_type="image/png")
    """

    size: int | None
    etag: str | None = None
    last_modified: datetime | None = None
    media_type: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


class Given:
    """Validators and a type that replace those of a source.

    None keeps the source's; False for `etag` or `last_modified` sends none.

    Raises `TypeError` and `ValueError` for an invalid entity tag, or a naive datetime.
    """

    __slots__ = ("_etag", "_last_modified", "_media_type", "says_nothing")

    def __init__(
        self,
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        media_type: str | None = None,
    ) -> None:
        self.says_nothing: bool = etag is None and last_modified is None and media_type is None
        self._etag, self._last_modified, self._media_type = etag, last_modified, media_type
        if self.says_nothing:
            return
        if etag not in (None, False) and not isinstance(etag, str):
            raise TypeError(f"etag must be a str such as '\"v7\"', False or None, got {etag!r}")
        if last_modified not in (None, False) and not isinstance(last_modified, datetime):
            raise TypeError(
                f"last_modified must be a datetime, False or None, got {last_modified!r}"
            )
        Validators.of(etag or None, last_modified or None)

    def over(self, info: SourceInfo) -> SourceInfo:
        """`info`, with the given values in place of its own."""
        if self.says_nothing:
            return info
        return replace(
            info,
            etag=info.etag if self._etag is None else self._etag or None,
            last_modified=(
                info.last_modified if self._last_modified is None else self._last_modified or None
            ),
            media_type=self._media_type or info.media_type,
        )


class ByteSource(ABC):
    """Anything whose bytes can be read from the middle: subclass it for a store of your own.

    A response calls `info` once, `read` for each span it sends, one after the other, and `aclose`
    once at the end, all from one task. `streamkit.testing.check_source` tests an implementation.

        class Blob(ByteSource):
            async def info(self):
                return SourceInfo(len(BLOB), etag='"1"')
            async def read(self, start, end):
                yield BLOB[start:end]
    """

    @abstractmethod
    async def info(self) -> SourceInfo:
        """Size and validators; what it raises becomes the response's status."""

    @abstractmethod
    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        """Exactly the bytes `start` to `end` (half-open), in chunks of any size.

        `end` is None, for all the rest, only if the size is unknown.
        """

    def info_now(self) -> SourceInfo | None:
        """What `info` would give, if it is known without waiting; None to have it awaited.

        A response asks this first and sends small content without a task or a thread. Must not
        block. `info` and `read` go on from here: nothing is opened or asked for a second time.
        """
        return None

    def read_now(self, start: int, end: int) -> bytes | None:
        """All the bytes `start` to `end`, if they are in memory; None to have `read` asked.

        Must not block. Called after `info_now` gave an info, for at most 256 KiB.
        """
        return None

    async def aclose(self) -> None:  # noqa: B027 (many sources hold nothing)
        """Release what the source holds; also called when it was never read."""


class BytesSource(ByteSource):
    """Whole bytes in memory.

    `bytearray` and `memoryview` are copied.

        BytesSource(b"%PDF-1.7 ...", etag='"v7"', media_type="application/pdf")
    """

    def __init__(
        self,
        data: bytes | bytearray | memoryview,
        *,
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        media_type: str | None = None,
    ) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"BytesSource takes bytes, got {type(data).__name__}; encode str first")
        self._data = data if isinstance(data, bytes) else memoryview(data).tobytes()
        self._info = Given(etag, last_modified, media_type).over(SourceInfo(len(self._data)))

    async def info(self) -> SourceInfo:
        return self._info

    def info_now(self) -> SourceInfo:
        return self._info

    def read_now(self, start: int, end: int) -> bytes:
        return self._data[start:end]

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = len(self._data) if end is None else end
        for position in range(start, stop, READ_SIZE):
            yield self._data[position : min(position + READ_SIZE, stop)]
