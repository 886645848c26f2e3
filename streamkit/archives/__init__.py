"""Archives made while they are sent: zip and tar, from members whose content streams.

    member.py    ZipMember, also called Member: a name that is safe to unpack, and its content
    names.py     which names can be unpacked, alone and together
    folder.py    the files of a folder, without following a link out of it
    reading.py   a content, whatever its kind, as chunks on the archive's thread
    writers.py   ZipWriter, TarWriter: members to bytes, over zipfile and tarfile
    feed.py      the iterable that is driven, and who closes what
    measure.py   the length of an archive, by the same writers over contents that aren't read
    ranges.py    ArchiveSource: an archive of known length, read from the middle
    checksums.py CRCs of files, remembered

The archive is written in the bursts of one `ThreadProducer`, so that a slow client holds no
thread; async contents are driven by tasks of their own and handed to that thread.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Unpack

from starlette.background import BackgroundTask

from streamkit.archives.feed import archive_of
from streamkit.archives.member import Member, ZipMember
from streamkit.archives.names import Duplicates, NameChecker, Names
from streamkit.archives.ranges import ArchiveSource
from streamkit.archives.writers import TarWriter, Writer, ZipWriter
from streamkit.body.base import Coding
from streamkit.body.of import close_abandoned
from streamkit.body.threaded import ThreadedBody
from streamkit.declare import Option, configure, one_of
from streamkit.iterate import Stream
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = ["Member", "TARStreamingResponse", "ZIPStreamingResponse", "ZipMember"]


def deflate_level(name: str, level: object) -> None:
    """zlib's level, 1 to 9."""
    if not isinstance(level, int) or isinstance(level, bool):
        raise TypeError(
            f"{name} must be an int from 1 to 9, got {type(level).__name__}: {level!r:.60}"
        )
    if not 1 <= level <= 9:
        raise ValueError(
            f"{name} must be 1 (fast) to 9 (small), got {level!r}; a member that is not to be "
            f"compressed says so: ZipMember(..., compress=False)"
        )


class ArchiveOptions(ResponseOptions, total=False):
    """What archives add to the options of every response."""

    names: Annotated[
        Names,
        Option(
            "portable",
            one_of("portable", "posix"),
            text="Which names are taken: those that every system can unpack, or all of Linux.",
        ),
    ]
    duplicates: Annotated[
        Duplicates,
        Option(
            "error",
            one_of("error", "rename"),
            text="Whether two members of one name are an error, or the second gets a number.",
        ),
    ]


class ZIPOptions(ArchiveOptions, total=False):
    """What zip archives add to the options of every archive."""

    compress_level: Annotated[
        int,
        Option(4, deflate_level, text="zlib's level, from 1 (fast) to 9 (small)."),
    ]


class _ArchiveResponse(StreamingResponse):
    """Takes members, and everything that the plain class takes."""

    options: ClassVar[type] = ArchiveOptions
    # Four chunks: with room for one, the thread is given back after each, at half of the speed.
    max_buffer = 262144
    names: Names
    duplicates: Duplicates

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        filename: str | None = None,
        content_disposition_type: str = "attachment",
        etag: str | Literal[False] | None = None,
        last_modified: datetime | Literal[False] | None = None,
        on_close: OnClose | None = None,
        **options: Unpack[ArchiveOptions],
    ) -> None:
        try:
            # Before the content is taken: a wrong option leaves all of it here, to be closed.
            configure(self, self.options, options)
            archive = self._archive_of(content)
        except BaseException:
            _close_given(content)
            raise
        super().__init__(
            archive,
            status_code,
            headers,
            media_type,
            background,
            filename=filename,
            content_disposition_type=content_disposition_type,
            etag=etag,
            last_modified=last_modified,
            on_close=on_close,
        )
        if isinstance(archive, ArchiveSource) and not archive.is_repeatable:
            # A part of another response would have other times in its headers.
            self.headers.setdefault("accept-ranges", "none")

    def _archive_of(self, content: Any) -> Any:
        checker = NameChecker(self.names, self.duplicates)

        def admit(member: ZipMember) -> ZipMember:
            name = checker.admit(member.name)
            return member if name == member.name else replace(member, name=name)

        # No method: the archive, which the response holds, would hold the response.
        on_thread = partial(_on_thread, self.thread_affine, self.thread_timeout, self.max_buffer)
        return archive_of(content, self._make_writer, admit, on_thread, type(self).__name__)

    @abstractmethod
    def _make_writer(self) -> Writer: ...


class ZIPStreamingResponse(_ArchiveResponse):
    """Streams a zip archive, `application/zip`, made from `ZipMember`s as it is sent.

    `content` is a sync or async iterable of members: a list, or a generator, which is not asked
    for the next member before the last one was written. None at all makes an empty archive. What
    the plain class takes is sent as it is: a ready zip as a path, whole bytes, an open file, or
    an iterable of chunks such as `iterate_writes(save)`; the first item decides.

    Members of a list are owned, and each one's content is closed once, also those that are never
    reached; of a generator's members those it gave, and the generator itself. Sync content is
    read and closed on worker threads (the same one all along with `thread_affine`), async
    content in a task of its own.

    Each entry can be unpacked from a pipe, as Java's `ZipInputStream` and `bsdtar` do. Entries
    and archives may pass 4 GiB and 65,535 members (APPNOTE 4.3.14, Zip64); nothing smaller is
    written as Zip64 but the directory at the end, which sees to it from 2 GiB on. A member that
    isn't compressed is stored, and read twice for its CRC, where its content can be: a path,
    whole bytes, a seekable binary file; else it is deflated at level 0, which costs 5 bytes
    in 64 KiB.

    A list in which nothing is compressed, and all is paths, whole bytes, directories and links,
    has a `Content-Length`. If each member has a time, it has an `ETag` too and answers ranges;
    members whose time is now turn them off. A range that reaches the directory at the end needs
    the CRC of each file; those of 10,000 are remembered. `SourceError` for a file that changes.

    Class attributes, each a keyword argument as well:

    * `compress_level` (4): zlib's, 1 to 9. 4 makes 4 to 8 % more of text than zlib's usual 6, in
      40 to 70 % of the time.
    * `names` ("portable"): which names are taken. "portable" refuses what can't be unpacked, or is
      something else, on Windows or macOS: `CON`, `x.`, `f.txt:ads`, characters that turn the
      reading direction, a part above 255 bytes, two names that differ only by case or Unicode
      normal form. "posix" takes what Linux does. Both refuse two members of one name, and one name
      for a file and a directory, such as `a` and `a/b`.
    * `duplicates` ("error"): "rename" writes the second of such names as `a (2).txt`.
    * `max_buffer` is 262144 bytes here.

    Raises `TypeError` for chunks among members, `ValueError` for names that are refused: at
    construction for a list, else while it is sent, when any exception cuts the connection before
    the archive's end, so that no client takes a part for the whole. `TypeError` and `ValueError`
    for a wrong option, which are raised where a class is declared too; all that was given is
    closed then.

        @app.get("/export.zip")
        def export():
            film = ZipMember("film.mp4", Path("film.mp4"), compress=False)
            return ZIPStreamingResponse([ZipMember("a.csv", rows()), film], filename="all.zip")
    """

    media_type = "application/zip"
    options: ClassVar[type] = ZIPOptions
    compress_level: int

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Any,
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            etag: str | Literal[False] | None = None,
            last_modified: datetime | Literal[False] | None = None,
            on_close: OnClose | None = None,
            **options: Unpack[ZIPOptions],
        ) -> None: ...

    def _make_writer(self) -> Writer:
        return ZipWriter(self.compress_level)


class TARStreamingResponse(_ArchiveResponse):
    """Streams a tar archive, `application/x-tar`, made from `ZipMember`s as it is sent.

    Takes and closes what `ZIPStreamingResponse` does, has its options `names` and `duplicates`,
    and raises the same. The format is POSIX pax (IEEE Std 1003.1), with names in UTF-8 of any
    length and members of any size; `compress` means nothing here.

    A tar header tells the size before the content. Paths, whole bytes and seekable binary files
    know theirs; every other content is first written to a temporary file, of which 1 MiB stays
    in memory, and sent when it is at its end. A list of paths, whole bytes, directories and links
    has a `Content-Length`, validators and ranges as a zip has; a range reads no more than itself.

        @app.get("/films.tar")
        def films():
            return TARStreamingResponse([ZipMember("film.mp4", Path("film.mp4"))])
    """

    media_type = "application/x-tar"

    def _make_writer(self) -> Writer:
        return TarWriter()


def _on_thread(
    affine: bool, timeout: float | None, max_buffer: int, chunks: Iterable[bytes]
) -> Stream[bytes]:
    body = ThreadedBody(chunks, thread_affine=affine)
    body.thread_timeout = timeout
    return Stream(body, Coding(max_buffer=max_buffer))


def _close_given(content: Any) -> None:
    """Close all that a response was given which could not be made."""
    listed = isinstance(content, Collection) and not isinstance(content, str | bytes | Mapping)
    members = [item for item in content if isinstance(item, ZipMember)] if listed else []
    if isinstance(content, ZipMember):
        members = [content]
    if not members:
        close_abandoned(content)
    for member in members:
        if not isinstance(member.content, str | bytes | os.PathLike | None):
            close_abandoned(member.content)
