"""An archive as a source: its length is known, and it can be read from the middle."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing, closing
from hashlib import blake2b
from typing import Any, cast

from streamkit.archives.checksums import crc32_of, forget
from streamkit.archives.measure import Layout, Measured, Slot, added, measure, measured
from streamkit.archives.member import ZipMember
from streamkit.archives.reading import Tasks, open_reader
from streamkit.archives.writers import Hole, Writer
from streamkit.iterate import Stream, iterate_in_threadpool
from streamkit.sources import ByteSource, SourceInfo
from streamkit.threads import run_in_stream_thread

__all__ = ["ArchiveSource", "OnThread"]

OnThread = Callable[[Iterable[bytes]], Stream[bytes]]

# Counts up when a writer's bytes change for the same members.
FORMAT = 1


class ArchiveSource(ByteSource):
    """An archive whose members are paths, whole bytes and directories, stored as they are.

    Members are looked at once, in `info`. Each one is opened again when it is read, and must be
    what it was. The ETag is made of names, times, modes, sizes and the contents' own tags; there is
    none if a file's time says nothing, or a member takes the time of now. No Last-Modified: a
    member that is left out would not change it.

    A range of a tar reads that range only. The headers of a zip tell CRCs: those in the range are
    computed, and the directory at the end holds all. CRCs of files are remembered.

    `make_writer` gives a fresh writer for each run; `on_thread` makes a stream of chunks that are
    iterated on a thread. Raises, from `info`, what opening a member raises, and `SourceError` from
    `read` for one that has changed.
    """

    def __init__(
        self,
        members: Sequence[ZipMember],
        make_writer: Callable[[], Writer],
        on_thread: OnThread = iterate_in_threadpool,
    ) -> None:
        self._given = members
        self._make_writer = make_writer
        self._on_thread = on_thread
        self._members: list[Measured] = []
        self._layout: Layout | None = None

    @property
    def is_repeatable(self) -> bool:
        """Whether the bytes are the same in the next response: no member takes the time of now."""
        return all(
            member.modified is not None or isinstance(member.content, os.PathLike)
            for member in self._given
        )

    async def info(self) -> SourceInfo:
        return await run_in_stream_thread(self._measure)

    def _measure(self) -> SourceInfo:
        now = time.time()
        self._members = [measured(member, now) for member in self._given]
        if any(each.size is None for each in self._members):
            return SourceInfo(None)
        self._layout = measure(self._members, self._make_writer())
        return SourceInfo(self._layout.size, self._etag() if self.is_repeatable else None)

    def _etag(self) -> str | None:
        digest = blake2b(f"{FORMAT} {type(self._make_writer()).__name__}".encode(), digest_size=16)
        for each in self._members:
            if each.tag is None:
                return None
            member = each.member
            moment = member.modified.timestamp() if member.modified is not None else 0
            # Zip tells local time.
            local = tuple(time.localtime(max(0, moment)))
            facts = member.name, member.mode, member.symlink, each.size, each.tag, moment, local
            digest.update(repr(facts).encode())
            if each.data is not None:
                digest.update(each.data)
        return f'"{digest.hexdigest()}"'

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        chunks = self._streamed() if end is None else self._range(start, end)
        items: Any = aiter(self._on_thread(chunks))
        async with aclosing(items):
            async for chunk in items:
                yield chunk

    def _range(self, start: int, end: int) -> Generator[bytes, None, None]:
        position = 0
        with closing(self._run(start, end)) as chunks:
            for chunk in chunks:
                begun, position = position, position + len(chunk)
                if position > start and not isinstance(chunk, Hole):
                    yield chunk[max(0, start - begun) : end - begun]
                if position >= end:
                    return

    def _run(self, start: int, end: int) -> Generator[bytes, None, None]:
        if self._layout is None:
            self._measure()
        layout, writer, tasks = cast(Layout, self._layout), self._make_writer(), Tasks()
        for each, (entry, content) in zip(self._members, layout.places, strict=True):
            tasks.check()
            # Of an entry that is skipped, only the directory tells the CRC.
            told = (entry < end and start <= content) or end > layout.end
            crc32 = crc32_of(each, tasks) if writer.checks and told else 0
            try:
                yield from added(writer, each, Slot(each, start - content, end - content, crc32))
            except RuntimeError:
                # It differs from its CRC, which may have been remembered.
                forget(each)
                raise
        yield from writer.end()

    def _streamed(self) -> Iterator[bytes]:
        """All of it, when a file has no size that can be believed."""
        writer, tasks = self._make_writer(), Tasks()
        for each in self._members or [measured(member, time.time()) for member in self._given]:
            if each.member.is_directory:
                yield from writer.add(each.member, None, tasks)
                continue
            reader = open_reader(each.member.content, tasks)
            try:
                yield from writer.add(each.member, reader, tasks)
            finally:
                reader.close()
        yield from writer.end()
