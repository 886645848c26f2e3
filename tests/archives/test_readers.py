"""Other people's readers take the archives."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest

from streamkit.archives import TARStreamingResponse, ZIPStreamingResponse
from tests.archives.members import (
    EVERY_KIND,
    body_of,
    both,
    by_java,
    every_kind,
    read_with,
    tool,
)

pytestmark = pytest.mark.anyio


def test_java_reads_every_entry_from_a_stream(
    java: list[str], archive_of_every_kind: dict[Any, bytes]
) -> None:
    found = by_java(java, archive_of_every_kind[ZIPStreamingResponse])
    expected = {name: (len(data), zipfile.crc32(data)) for name, data in EVERY_KIND.items()}  # type: ignore[attr-defined]
    assert found == {"a directory/": (0, 0), **expected}


@both
def test_bsdtar_reads_every_entry_from_a_pipe(
    response_class: Any, archive_of_every_kind: dict[Any, bytes], tmp_path: Path
) -> None:
    command = [tool("bsdtar"), "-xf", "-", "-C", str(tmp_path)]
    read_with(command, archive_of_every_kind[response_class])
    for name, data in EVERY_KIND.items():
        assert (tmp_path / name).read_bytes() == data
    assert (tmp_path / "a directory").is_dir()


def test_unzip_finds_no_fault(archive_of_every_kind: dict[Any, bytes], tmp_path: Path) -> None:
    path = tmp_path / "every.zip"
    path.write_bytes(archive_of_every_kind[ZIPStreamingResponse])
    found = read_with([tool("unzip"), "-t", str(path)], b"")
    assert b"No errors detected" in found


def test_tar_finds_no_fault(archive_of_every_kind: dict[Any, bytes], tmp_path: Path) -> None:
    command = [tool("tar"), "-xf", "-", "-C", str(tmp_path)]
    read_with(command, archive_of_every_kind[TARStreamingResponse])
    for name, data in EVERY_KIND.items():
        assert (tmp_path / name).read_bytes() == data


async def test_what_can_be_read_twice_is_stored_and_the_rest_deflated_at_no_level(
    directory: Path,
) -> None:
    body = await body_of(ZIPStreamingResponse(every_kind(directory)))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        stored = {i.filename for i in archive.infolist() if i.compress_type == zipfile.ZIP_STORED}
        sizes = {i.filename: (i.file_size, i.compress_size) for i in archive.infolist()}
    kinds = ("bytes", "no bytes", "bytearray", "memoryview", "str", "path", "empty path", "file")
    assert stored == {"a directory/", *(f"stored/{kind}" for kind in kinds)}
    size, packed = sizes["stored/generator"]
    assert size < packed < size * 1.001 + 20
