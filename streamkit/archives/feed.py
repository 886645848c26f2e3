"""The iterables that produce an archive's bytes, and who closes what.

A list's members are taken at construction; what an iterator gives is told by its first item, which
may come behind a `ResponseStart`, on the side that drives it: a worker thread, or the task of an
async one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import aclosing
from typing import Any, NoReturn

from streamkit.archives.measure import is_measurable
from streamkit.archives.member import ZipMember
from streamkit.archives.ranges import ArchiveSource, OnThread
from streamkit.archives.reading import WHOLE, Tasks, close_all, close_contents, open_reader
from streamkit.archives.writers import Writer
from streamkit.closing import close_async
from streamkit.iterate import Stream
from streamkit.start import ResponseStart

__all__ = ["archive_of"]

END = object()


def archive_of(
    content: Any,
    make_writer: Callable[[], Writer],
    admit: Callable[[ZipMember], ZipMember],
    on_thread: OnThread,
    owner: str,
) -> Any:
    """A `Stream` of the archive, or the content itself if it can't be one of members.

    `on_thread` makes a stream of what is iterated on a thread. An `ArchiveSource` for a list whose
    archive has a length that can be known.
    """
    if isinstance(content, ZipMember):
        raise TypeError(f"{owner} takes an iterable of members; put a single one into a list")
    if _is_ready(content):
        return content
    archive = _Archive(make_writer(), admit, on_thread, owner)
    if isinstance(content, AsyncIterable):
        return _AsyncFeed(content, archive)
    if not isinstance(content, Collection):
        return archive.stream(content)
    members = list(content)
    if members and not any(isinstance(member, ZipMember) for member in members):
        _check_chunk(members[0], owner)
        return content
    for member in members:
        if not isinstance(member, ZipMember):
            _refuse_mix(member, owner)
    members = [admit(member) for member in members]
    archive.admit = _admitted
    if is_measurable(members, archive.writer):
        return ArchiveSource(members, make_writer, on_thread)
    return archive.listed(members)


def _is_ready(content: Any) -> bool:
    return (
        isinstance(content, (*WHOLE, os.PathLike, Mapping))
        or callable(getattr(content, "read", None))
        or not isinstance(content, AsyncIterable | Iterable)
        # What `iterate_writes` gives are bytes: they need no second look.
        or (isinstance(content, Stream) and content.is_written)
    )


def _refuse_mix(item: object, owner: str) -> NoReturn:
    other = "members among chunks" if isinstance(item, ZipMember) else "chunks among members"
    raise TypeError(
        f"{owner} takes ZipMembers or the chunks of a ready archive, not {other}: got {item!r:.80}"
    )


def _check_chunk(item: object, owner: str) -> None:
    """Refuse what begins no ready archive, such as the name of a file."""
    try:
        memoryview(item)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(
            f"{owner} takes ZipMembers, such as ZipMember('a.txt', Path('a.txt')), or the bytes of "
            f"a ready archive, got {type(item).__name__}: {item!r:.80}"
        ) from None


def _admitted(member: ZipMember) -> ZipMember:
    return member


class _Archive:
    """What the feeds of one archive share, one at a time."""

    def __init__(
        self,
        writer: Writer,
        admit: Callable[[ZipMember], ZipMember],
        on_thread: OnThread,
        owner: str,
    ) -> None:
        self.writer = writer
        self.admit = admit
        self.on_thread = on_thread
        self.owner = owner

    def stream(self, members: Iterable[Any]) -> Stream[bytes]:
        """A stream of the whole archive."""
        return self._stream(members, Tasks(), ends=True)

    def listed(self, members: list[ZipMember], *, ends: bool = True) -> Stream[bytes]:
        """The same of members that are owned, or of some, if it `ends` not."""
        tasks = Tasks()
        return self._stream(_Listed(members, tasks), tasks, ends=ends)

    def _stream(self, members: Iterable[Any], tasks: Tasks, *, ends: bool) -> Stream[bytes]:
        return self.on_thread(_Feed(members, self, tasks, ends=ends))


class _Listed(Iterator[ZipMember]):
    """Members that are owned from the start."""

    def __init__(self, members: Iterable[ZipMember], tasks: Tasks) -> None:
        self._left = deque(members)
        self._tasks = tasks

    def __next__(self) -> ZipMember:
        if not self._left:
            raise StopIteration
        return self._left.popleft()

    def close(self) -> None:
        """Close the contents of those that were never reached."""
        contents = [member.content for member in self._left]
        self._left.clear()
        close_contents(contents, self._tasks)


class _Feed:
    """The bytes of an archive, or the chunks that the iterable turns out to give."""

    def __init__(
        self, members: Iterable[Any], archive: _Archive, tasks: Tasks, *, ends: bool
    ) -> None:
        self._members = members
        self._iterator: Iterator[Any] | None = None
        self._archive = archive
        self._tasks = tasks
        self._ends = ends

    def __iter__(self) -> Iterator[Any]:
        self._iterator = iterator = iter(self._members)
        first = next(iterator, END)
        if isinstance(first, ResponseStart):
            yield first
            first = next(iterator, END)
        if first is END or isinstance(first, ZipMember):
            yield from self._write(first, iterator)
        else:
            yield from self._pass(first, iterator)

    def close(self) -> None:
        """Close the iterable, and the members that it owns."""
        close_all([self._members, self._iterator])

    def _pass(self, item: Any, iterator: Iterator[Any]) -> Iterator[Any]:
        _check_chunk(item, self._archive.owner)
        while item is not END:
            if isinstance(item, ZipMember):
                close_contents([item.content], self._tasks)
                _refuse_mix(item, self._archive.owner)
            yield item
            item = next(iterator, END)

    def _write(self, item: Any, iterator: Iterator[Any]) -> Iterator[bytes]:
        while item is not END:
            if not isinstance(item, ZipMember):
                _refuse_mix(item, self._archive.owner)
            yield from self._member(item)
            item = next(iterator, END)
        if self._ends:
            yield from self._archive.writer.end()

    def _member(self, member: ZipMember) -> Iterator[bytes]:
        writer, tasks = self._archive.writer, self._tasks
        try:
            member = self._archive.admit(member)
        except ValueError:
            close_contents([member.content], tasks)
            raise
        if member.is_directory:
            yield from writer.add(member, None, tasks)
            return
        reader = open_reader(member.content, tasks)
        try:
            yield from writer.add(member, reader, tasks)
        finally:
            reader.close()


class _AsyncFeed:
    """The same for an async iterable, which is driven in the producer's task.

    Each member is written on a thread while the iterable waits, so that what it holds open
    around a `yield` stays open for as long as the member is read.
    """

    def __init__(self, members: AsyncIterable[Any], archive: _Archive) -> None:
        self._members = members
        self._iterator: AsyncIterator[Any] | None = None
        self._archive = archive

    async def __aiter__(self) -> AsyncIterator[Any]:
        self._iterator = iterator = aiter(self._members)
        item: Any = await anext(iterator, END)
        if isinstance(item, ResponseStart):
            yield item
            item = await anext(iterator, END)
        writes = item is END or isinstance(item, ZipMember)
        if not writes:
            _check_chunk(item, self._archive.owner)
        while item is not END:
            if isinstance(item, ZipMember) is not writes:
                await self._refuse(item)
            if writes:
                async with aclosing(self._archive.listed([item], ends=False)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            else:
                yield item
            item = await anext(iterator, END)
        if writes:
            async with aclosing(self._archive.listed([])) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _refuse(self, item: Any) -> NoReturn:
        if isinstance(item, ZipMember):
            await self._archive.listed([item]).aclose()
        _refuse_mix(item, self._archive.owner)

    async def aclose(self) -> None:
        """Close the iterable."""
        if (error := await close_async(self._iterator, self._members)) is not None:
            raise error
