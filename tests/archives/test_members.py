"""What a member is given, and what the archive tells of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamkit.archives import TARStreamingResponse, ZipMember, ZIPStreamingResponse
from tests.archives.members import (
    UNPACK,
    body_of,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        ("/etc/passwd", "is absolute"),
        ("C:/x", "is absolute"),
        ("c:x", "is absolute"),
        ("../x", "has the part '..'"),
        ("a/../../x", "has the part '..'"),
        ("a/..", "has the part '..'"),
        ("./a", "has the part '.'"),
        ("a//b", "has the part ''"),
        ("a//", "has the part ''"),
        ("/", "is absolute"),
        ("a\\b", "has a backslash"),
        ("a\0b", r"has the control character '\x00'"),
        ("a\nb", r"has the control character '\n'"),
        ("a\x85b", r"has the control character '\x85'"),
        ("a\udc80", "has a lone surrogate"),
        ("ä" * 40_000, "takes 80000 bytes"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_a_name_that_could_be_unpacked_elsewhere_is_refused(name: str, says: str) -> None:
    with pytest.raises(ValueError, match=r"such as 'docs/a\.txt'") as caught:
        ZipMember(name, b"")
    assert says in str(caught.value)


def test_arguments_of_other_kinds_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"path.as_posix\(\)"):
        ZipMember(tmp_path, b"")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"'a' content must be .* got int"):
        ZipMember("a", 1)
    with pytest.raises(TypeError, match=r"'a' content must be .* got NoneType"):
        ZipMember("a", None)
    with pytest.raises(ValueError, match="a directory's content is None, got bytes"):
        ZipMember("a/", b"")
    with pytest.raises(TypeError, match="fromtimestamp"):
        ZipMember("a", b"", modified=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="can't tell"):
        ZipMember("a", b"", modified=datetime.min)
    with pytest.raises(ValueError, match="compress_level must be 1"):
        ZIPStreamingResponse([], compress_level=0)
    with pytest.raises(TypeError, match="put a single one into a list"):
        ZIPStreamingResponse(ZipMember("a", b""))
    with pytest.raises(TypeError, match="got dict"):
        ZIPStreamingResponse({"a": b""})
    with pytest.raises(TypeError, match="got int"):
        ZIPStreamingResponse(1)
    with pytest.raises(TypeError, match="got an unexpected keyword argument 'level'"):
        ZIPStreamingResponse([], level=1)  # type: ignore[call-arg]


def test_a_member_shows_its_name_and_not_its_content() -> None:
    assert repr(ZipMember("a", b"secret")) == (
        "ZipMember(name='a', modified=None, compress=True, mode=None, symlink=False)"
    )


async def test_times_and_permissions_are_told(directory: Path) -> None:
    moment = datetime(2020, 2, 29, 12, 30, 45, tzinfo=UTC)
    os.utime(directory / "noise", (0, 0))
    members = [
        ZipMember("aware", b"", modified=moment),
        ZipMember("naive", b"", modified=datetime(2020, 2, 29, 12, 30, 44)),
        ZipMember("now", b""),
        ZipMember("path", directory / "noise"),
        ZipMember("future", b"", modified=datetime(2200, 1, 1)),
        ZipMember("directory/", None),
    ]
    body = await body_of(ZIPStreamingResponse(members))
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        infos = {info.filename: info for info in archive.infolist()}
    assert infos["naive"].date_time == (2020, 2, 29, 12, 30, 44)
    assert infos["path"].date_time == (1980, 1, 1, 0, 0, 0)
    assert infos["future"].date_time == (2107, 12, 31, 23, 59, 58)
    assert infos["aware"].extra[-4:] == int(moment.timestamp()).to_bytes(4, "little")
    now = datetime(*infos["now"].date_time)
    assert abs(datetime.now() - now) < timedelta(seconds=30)
    assert infos["now"].external_attr >> 16 == stat.S_IFREG | 0o644
    assert infos["directory/"].external_attr >> 16 == stat.S_IFDIR | 0o755
    assert infos["directory/"].is_dir()

    body = await body_of(TARStreamingResponse(members[:4]))
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        times = {info.name: info.mtime for info in tar}
        assert {info.mode for info in tar} == {0o644}
    assert times["aware"] == moment.timestamp()
    assert times["path"] == 0


async def test_long_names_of_any_script_come_back() -> None:
    name = "/".join(["ключ 鍵" * 20] * 5)
    for response_class, unpack in UNPACK.items():
        assert list(unpack(await body_of(response_class([ZipMember(name, b"")])))) == [name]
