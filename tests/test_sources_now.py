"""What the system gives at once or not at all, and the one function that opens paths."""

from __future__ import annotations

import gc
import io
import os
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from streamkit import BytesSource, FileSource, PathSource
from streamkit.sources import open_regular
from tests.test_sources import DATA, on_linux
from tests.test_sources_files import SIZE, get

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(DATA)
    return path


# A system that gives nothing.


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="this system has no preadv")
async def test_0_bytes_before_the_end_are_asked_of_a_thread(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "preadv", lambda *args: 0)
    for content in (path, path.open("rb")):
        response = await get(content, {"range": "bytes=10-300009"})
        assert (response.status, response.body) == (206, DATA[10:300010])


# What can be had at once.


async def test_whole_bytes_are_known_and_read_without_waiting() -> None:
    for source in (BytesSource(DATA), FileSource(io.BytesIO(DATA))):
        info = source.info_now()
        assert info == await source.info()
        assert info.size == SIZE
        assert source.read_now(3, 9) == DATA[3:9]


@on_linux
@pytest.mark.parametrize("how", ["path", "file"])
async def test_a_cached_file_is_known_and_read_without_waiting_and_opened_once(
    how: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.read_bytes()  # noqa: ASYNC240
    source: Any = PathSource(path) if how == "path" else FileSource(path.open("rb"))
    if (info := source.info_now()) is None:
        pytest.skip("this kernel or file system does not tell what is cached")
    monkeypatch.setattr(os, "open", lambda *args: pytest.fail("opened again"))
    assert info == source.info_now() == await source.info()
    assert source.read_now(3, 9) in (DATA[3:9], None)
    assert b"".join([chunk async for chunk in source.read(3, 900)]) == DATA[3:900]
    assert source.read_now(0, SIZE) is None, "more than one read"
    assert source.read_now(SIZE - 1, SIZE + 1) is None, "past the end"
    await source.aclose()


@pytest.mark.parametrize("name", ["missing", "directory", "fifo"])
async def test_what_cannot_be_opened_is_left_to_info(name: str, tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    os.mkfifo(tmp_path / "fifo")
    source = PathSource(tmp_path / name)
    assert source.info_now() is None
    with pytest.raises(OSError, match=r"."):
        await source.info()
    await source.aclose()


async def test_a_source_of_ones_own_need_not_know_anything_at_once() -> None:
    from tests.test_sources import Blob

    assert Blob().info_now() is None
    assert Blob().read_now(0, 1) is None


async def test_closed_files_are_errors_of_info() -> None:
    for file in (io.BytesIO(DATA), io.BufferedReader(io.FileIO(os.devnull))):
        source = FileSource(file)
        file.close()
        assert source.info_now() is None
        with pytest.raises(ValueError, match="closed"):
            await source.info()


# One function that opens paths.


def descriptors() -> set[str]:
    """Those that are open, with what each stands for; what other tests have left may go."""
    gc.collect()
    found = set()
    for name in os.listdir("/dev/fd"):
        # That of the listing itself is gone by now.
        with suppress(OSError):
            found.add(f"{name} {os.readlink(f'/dev/fd/{name}')}")
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs or devices")
@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("missing", FileNotFoundError),
        ("directory", IsADirectoryError),
        ("fifo", OSError),
        ("socket", OSError),
        (os.devnull, OSError),
        ("file/below", NotADirectoryError),
    ],
)
def test_only_regular_files_are_opened(name: str, error: type[OSError], path: Path) -> None:
    (path.parent / "directory").mkdir()
    os.mkfifo(path.parent / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path.parent / "socket"))
        before = descriptors()
        with pytest.raises(error):
            open_regular(path.parent / name)
        assert descriptors() <= before


def test_an_opened_file_is_read_by_position_and_closed_once(path: Path) -> None:
    before = descriptors()
    with open_regular(path) as file:
        assert (file.size, file.read_at(5, 3), file.read_at(0, 2)) == (SIZE, DATA[5:8], DATA[:2])
        assert file.read_at(SIZE, 1) == b""
    file.close()
    assert descriptors() <= before


def test_a_file_that_was_opened_for_nobody_is_closed(path: Path) -> None:
    before = descriptors()
    open_regular(path)
    gc.collect()
    assert descriptors() <= before
