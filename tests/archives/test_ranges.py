"""Archives whose length is known, and parts of them."""

from __future__ import annotations

import io
import os
import time
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.archives import Member, TARStreamingResponse, ZIPStreamingResponse
from streamkit.archives.checksums import _known
from streamkit.archives.ranges import ArchiveSource
from streamkit.archives.writers import TarWriter, ZipWriter
from streamkit.regular import RegularFile
from streamkit.testing import check_source, fetch
from tests.archives.members import NOISE, UNPACK, body_of, both, rows

pytestmark = pytest.mark.anyio

MOMENT = datetime(2020, 2, 29, 12, 30, 44, tzinfo=UTC)
WRITERS: dict[Any, Callable[[], Any]] = {
    ZIPStreamingResponse: lambda: ZipWriter(4),
    TARStreamingResponse: TarWriter,
}


@pytest.fixture(autouse=True)
def forgotten() -> None:
    _known.clear()


def known(directory: Path) -> list[Member]:
    """Members of every kind whose size is known."""
    dated: dict[str, Any] = {"modified": MOMENT, "compress": False}
    return [
        Member("directory/", None, **dated),
        Member("bytes", b"bytes" * 40, **dated),
        Member("Öl/str", "Öl", **dated),
        Member("bytearray", bytearray(b"array"), **dated),
        Member("no bytes", b"", **dated),
        Member("link", "bytes", symlink=True, **dated),
        Member("path", directory / "text", compress=False),
        Member("empty path", directory / "empty", compress=False),
        Member("ü" * 120, directory / "noise", compress=False),
        *Member.from_folder(directory, prefix="folder", compress=False),
    ]


@both
async def test_a_list_of_paths_and_bytes_has_a_content_length(
    response_class: Any, directory: Path, anyio_backend: Any
) -> None:
    streamed = await fetch(response_class(iter(known(directory))))
    fetched = await fetch(response_class(known(directory)))
    assert UNPACK[response_class](fetched.body) == UNPACK[response_class](streamed.body)
    assert fetched.headers["content-length"] == str(len(fetched.body))
    assert "content-length" not in streamed.headers
    head = await fetch(response_class(known(directory)), method="HEAD")
    assert head.headers["content-length"] == fetched.headers["content-length"]
    assert head.headers["etag"] == fetched.headers["etag"]


@both
async def test_an_archive_of_known_length_is_a_source_like_any_other(
    response_class: Any, directory: Path, anyio_backend: Any
) -> None:
    body = await body_of(response_class(known(directory)))
    await check_source(lambda: ArchiveSource(known(directory), WRITERS[response_class]), body)


ALL: dict[Any, bytes] = {}


@both
@given(data=st.data())
def test_any_range_has_the_bytes_of_the_whole(
    response_class: Any, data: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.getbasetemp() / "ranges"
    if not directory.exists():
        directory.mkdir()
        for name, content in (("noise", NOISE), ("empty", b""), ("text", "Öl\n".encode() * 50_000)):
            (directory / name).write_bytes(content)
    if response_class not in ALL:
        ALL[response_class] = anyio.run(body_of, response_class(known(directory)))
    whole = ALL[response_class]
    edges = [0, len(whole), *(found for name in (b"PK", b"ustar") for found in at(name, whole))]
    near = st.sampled_from(edges).flatmap(lambda edge: st.integers(edge - 40, edge + 200))
    offsets = near.map(lambda offset: min(max(0, offset), len(whole) - 1))
    spans = data.draw(st.lists(st.tuples(offsets, offsets).map(sorted), min_size=1, max_size=3))
    for start, last in spans:
        fetched = anyio.run(
            lambda: fetch(
                response_class(known(directory)),
                headers={"range": f"bytes={start}-{last}"},  # noqa: B023
            )
        )
        assert fetched.status == 206
        assert fetched.body == whole[start : last + 1]


def at(needle: bytes, whole: bytes) -> list[int]:
    found = [-1]
    while (following := whole.find(needle, found[-1] + 1)) >= 0:
        found.append(following)
    return found[1:][:200]


@both
async def test_several_ranges_are_answered_in_parts(response_class: Any, directory: Path) -> None:
    whole = await body_of(response_class(known(directory)))
    fetched = await fetch(
        response_class(known(directory)), headers={"range": "bytes=600-700,-30,5-9"}
    )
    assert fetched.headers["content-type"].startswith("multipart/byteranges")
    for start, end in ((600, 701), (len(whole) - 30, len(whole)), (5, 10)):
        assert whole[start:end] in fetched.body


@both
async def test_a_download_goes_on_only_where_nothing_has_changed(
    response_class: Any, directory: Path
) -> None:
    first = await fetch(response_class(known(directory)))
    etag = first.headers["etag"]
    headers = {"range": "bytes=1000-", "if-range": etag}
    fetched = await fetch(response_class(known(directory)), headers=headers)
    assert (fetched.status, fetched.body) == (206, first.body[1000:])
    same = await fetch(response_class(known(directory)), headers={"if-none-match": etag})
    assert same.status == 304
    os.utime(directory / "noise", (0, 1_600_000_000))
    fetched = await fetch(response_class(known(directory)), headers=headers)
    assert fetched.status == 200


CHANGES: dict[str, Callable[[list[Member]], list[Member]]] = {
    "a member less": lambda members: members[:-1],
    "another order": lambda members: members[::-1],
    "another content": lambda members: [Member("a", b"2", modified=MOMENT), *members[1:]],
    "another name": lambda members: [Member("b", b"1", modified=MOMENT), *members[1:]],
    "another mode": lambda members: [Member("a", b"1", modified=MOMENT, mode=0), *members[1:]],
    "another time": lambda members: [
        Member("a", b"1", modified=MOMENT.replace(month=3)),
        *members[1:],
    ],
    "a link": lambda members: [Member("a", "1", modified=MOMENT, symlink=True), *members[1:]],
}


@pytest.mark.parametrize("change", CHANGES)
async def test_the_etag_tells_every_change(change: str, directory: Path) -> None:
    members = [Member("a", b"1", modified=MOMENT), Member("noise", directory / "noise")]
    tags = [
        (await fetch(TARStreamingResponse(each), method="HEAD")).headers["etag"]
        for each in (members, members, CHANGES[change](members))
    ]
    assert tags[0] == tags[1] != tags[2]


@both
async def test_an_archive_with_the_time_of_now_has_a_length_but_no_ranges(
    response_class: Any,
) -> None:
    members = [Member("now", b"12345", compress=False)]
    fetched = await fetch(response_class(members), headers={"range": "bytes=0-9"})
    assert fetched.status == 200
    assert fetched.headers["accept-ranges"] == "none"
    assert fetched.headers["content-length"] == str(len(fetched.body))
    assert "etag" not in fetched.headers


@both
async def test_a_file_whose_time_says_nothing_makes_no_etag(
    response_class: Any, directory: Path
) -> None:
    os.utime(directory / "noise", (0, 0))
    member = Member("noise", directory / "noise", compress=False)
    fetched = await fetch(response_class([member]))
    assert "etag" not in fetched.headers
    assert "content-length" in fetched.headers


UNMEASURED: dict[str, Callable[[Path], Member]] = {
    "a generator": lambda _: Member("a", rows("a"), compress=False),
    "an open file": lambda d: Member("a", (d / "noise").open("rb"), compress=False),
    "compressed": lambda d: Member("a", d / "noise"),
}


@pytest.mark.parametrize("kind", UNMEASURED)
async def test_what_has_no_known_length_is_streamed(kind: str, directory: Path) -> None:
    members = [Member("first", b"", compress=False), UNMEASURED[kind](directory)]
    fetched = await fetch(ZIPStreamingResponse(members))
    assert fetched.complete
    assert "content-length" not in fetched.headers
    assert "accept-ranges" not in fetched.headers


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="there is no /proc here")
@both
async def test_a_file_whose_size_is_not_true_is_streamed(response_class: Any) -> None:
    members = [
        Member("status", Path("/proc/self/status"), compress=False),
        Member("directory/", None),
        Member("bytes", b"1", compress=False),
    ]
    fetched = await fetch(response_class(members))
    assert "content-length" not in fetched.headers
    found = UNPACK[response_class](fetched.body)
    assert b"Pid:" in found["status"]
    assert found["bytes"] == b"1"


@both
@pytest.mark.parametrize("change", ["grows", "shrinks", "is rewritten", "goes"])
async def test_a_file_that_changes_while_the_archive_is_sent_cuts_it(
    response_class: Any, change: str, directory: Path
) -> None:
    path = directory / "last"
    path.write_bytes(b"12345")
    source = ArchiveSource([Member("last", path, compress=False)], WRITERS[response_class])
    size = (await source.info()).size
    if change == "goes":
        path.unlink()
    else:
        path.write_bytes({"grows": b"123456", "shrinks": b"1", "is rewritten": b"54321"}[change])
        os.utime(path, (0, 1_600_000_000))
    with pytest.raises(OSError, match=r"changed while|No such file"):
        b"".join([chunk async for chunk in source.read(0, size)])


@both
async def test_what_cannot_be_opened_is_told_before_the_status(
    response_class: Any, tmp_path: Path
) -> None:
    for path, error in ((tmp_path / "none", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            await fetch(response_class([Member("a", path, compress=False)]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
@both
async def test_a_fifo_is_refused_without_waiting_for_its_writer(
    response_class: Any, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    with anyio.fail_after(5), pytest.raises(OSError, match="FIFO"):
        await fetch(response_class([Member("a", tmp_path / "fifo", compress=False)]))


# what is read for it


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes that were read from files."""
    sizes: list[int] = []
    read_at = RegularFile.read_at

    def counting(file: RegularFile, start: int, size: int) -> bytes:
        data = read_at(file, start, size)
        sizes.append(len(data))
        return data

    monkeypatch.setattr(RegularFile, "read_at", counting)
    return sizes


def settled(directory: Path) -> list[Member]:
    members = []
    for name in "abc":
        path = directory / name
        path.write_bytes(NOISE)
        os.utime(path, (0, 1_600_000_000))
        members.append(Member(name, path, compress=False))
    return members


async def test_the_length_of_an_archive_is_known_without_reading_its_files(
    tmp_path: Path, read: list[int]
) -> None:
    members = []
    for name in ("first", "second"):
        # Of which one block is on the disk, so that the size is believed.
        (tmp_path / name).write_bytes(b"1")
        os.truncate(tmp_path / name, 5 << 30)
        members.append(Member(name, tmp_path / name, compress=False))
    least = 10 << 30
    for response_class in (ZIPStreamingResponse, TARStreamingResponse):
        fetched = await fetch(response_class(members), method="HEAD")
        assert least < int(fetched.headers["content-length"]) < least + 11_000
    assert not read


async def test_a_range_of_a_tar_reads_no_more_than_itself(tmp_path: Path, read: list[int]) -> None:
    members = settled(tmp_path)
    start = 2 * len(NOISE)
    headers = {"range": f"bytes={start}-{start + 999}"}
    fetched = await fetch(TARStreamingResponse(members), headers=headers)
    assert len(fetched.body) == sum(read) == 1000


async def test_checksums_are_computed_once_for_files_that_stay(
    tmp_path: Path, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The times of the files, which were just made, are settled by then.
    later = time.time() + 60
    monkeypatch.setattr("streamkit.archives.checksums.time.time", lambda: later)
    members = settled(tmp_path)
    whole = await fetch(ZIPStreamingResponse(members))
    assert sum(read) == 6 * len(NOISE)
    read.clear()
    again = await fetch(ZIPStreamingResponse(members))
    assert sum(read) == 3 * len(NOISE)
    assert again.body == whole.body
    read.clear()
    last = await fetch(ZIPStreamingResponse(members), headers={"range": "bytes=-1000"})
    assert last.body == whole.body[-1000:]
    assert sum(read) < 1000


async def test_checksums_of_files_that_have_just_changed_are_not_remembered(
    tmp_path: Path, read: list[int]
) -> None:
    members = settled(tmp_path)
    for _ in range(2):
        read.clear()
        await fetch(ZIPStreamingResponse(members))
        assert sum(read) == 6 * len(NOISE)


async def test_a_remembered_checksum_that_is_wrong_is_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 60
    monkeypatch.setattr("streamkit.archives.checksums.time.time", lambda: later)
    members = settled(tmp_path)
    await fetch(ZIPStreamingResponse(members))
    for key in _known:
        _known[key] ^= 1
    fetched = await fetch(ZIPStreamingResponse(members))
    assert not fetched.complete
    assert "'a' changed while" in str(fetched.error)
    del _known[next(reversed(_known))], _known[next(reversed(_known))]
    body = await body_of(ZIPStreamingResponse(members))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        assert archive.testzip() is None
