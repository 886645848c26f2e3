"""Archives made while they are sent: zip and tar, from members whose content streams.

    member.py    ZipMember: a name that is safe to unpack, and its content
    reading.py   a content, whatever its kind, as chunks on the archive's thread
    writers.py   ZipWriter, TarWriter: members to bytes, over zipfile and tarfile
    feed.py      the iterable that a producer drives, and who closes what

The archive is written in the bursts of one `ThreadProducer`, so that a slow client holds no
thread; async contents are driven by tasks of their own and handed to that thread.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Unpack

from starlette.background import BackgroundTask

from streamkit.archives.feed import archive_of
from streamkit.archives.member import ZipMember
from streamkit.archives.writers import TarWriter, Writer, ZipWriter
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = ["TARStreamingResponse", "ZIPStreamingResponse", "ZipMember"]


class ArchiveOptions(ResponseOptions, total=False):
    """The keyword arguments of a response, to hand them on."""

    filename: str | None
    content_disposition_type: str
    etag: str | None
    last_modified: datetime | None
    on_close: OnClose | None


class _ArchiveResponse(StreamingResponse):
    """Takes members, and everything that the plain class takes."""

    # Four chunks: with room for one, the thread is given back after each, at half of the speed.
    max_buffer = 262144

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        **options: Unpack[ArchiveOptions],
    ) -> None:
        taken = archive_of(
            content,
            self._make_writer,
            thread_affine=options.get("thread_affine", self.thread_affine),
            owner=type(self).__name__,
        )
        super().__init__(taken, status_code, headers, media_type, background, **options)

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

    `compress_level` (4): zlib's, 1 to 9, also a keyword argument. 4 makes 4 to 8 % more of text
    than zlib's usual 6, in 40 to 70 % of the time. `max_buffer` is 262144 bytes here.

    Raises `TypeError` for chunks among members, `ValueError` for a name that comes twice: at
    construction for a list, else while it is sent, when any exception cuts the connection before
    the archive's end, so that no client takes a part for the whole.

        @app.get("/export.zip")
        def export():
            film = ZipMember("film.mp4", Path("film.mp4"), compress=False)
            return ZIPStreamingResponse([ZipMember("a.csv", rows()), film], filename="all.zip")
    """

    media_type = "application/zip"
    compress_level: int = 4

    def __init__(
        self,
        content: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        background: BackgroundTask | None = None,
        *,
        compress_level: int | None = None,
        **options: Unpack[ArchiveOptions],
    ) -> None:
        if compress_level is not None:
            self.compress_level = compress_level
        super().__init__(content, status_code, headers, media_type, background, **options)

    def _make_writer(self) -> Writer:
        return ZipWriter(self.compress_level)


class TARStreamingResponse(_ArchiveResponse):
    """Streams a tar archive, `application/x-tar`, made from `ZipMember`s as it is sent.

    Takes and closes what `ZIPStreamingResponse` does, and raises the same. The format is POSIX
    pax (IEEE Std 1003.1), with names in UTF-8 of any length and members of any size; `compress`
    means nothing here.

    A tar header tells the size before the content. Paths, whole bytes and seekable binary files
    know theirs; every other content is first written to a temporary file, of which 1 MiB stays
    in memory, and sent when it is at its end.

        @app.get("/films.tar")
        def films():
            return TARStreamingResponse([ZipMember("film.mp4", Path("film.mp4"))])
    """

    media_type = "application/x-tar"

    def _make_writer(self) -> Writer:
        return TarWriter()
