"""Whole folders, modes and symbolic links."""

from __future__ import annotations

import io
import os
import socket
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

import streamkit.archives.folder
from streamkit.archives import Member, TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.testing import fetch
from tests.archives.members import UNPACK, body_of, both, tool
from tests.descriptors import opened_by

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(os.name != "posix", reason="needs the permissions and links of Unix"),
]
MOMENT = datetime(2020, 2, 29, 12, 30, 44, tzinfo=UTC)


@pytest.fixture(params=["openat", "without openat"])
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if request.param != "openat":
        monkeypatch.setattr(streamkit.archives.folder, "_BENEATH", False)
    folder = tmp_path / "site"
    for name in ("b/deep/z.txt", "b/a.txt", "a.txt", "b.txt", "run.sh"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    (folder / "empty").mkdir()
    (folder / "run.sh").chmod(0o750)
    (folder / "empty").chmod(0o700)
    (folder / "b/to_a").symlink_to("../a.txt")
    (folder / "to_b").symlink_to("b")
    (folder / "dangling").symlink_to("nothing/here")
    for path in (folder / "run.sh", folder / "empty"):
        os.utime(path, (MOMENT.timestamp(), MOMENT.timestamp()))
    (tmp_path / "secret.txt").write_text("secret")
    return folder


ORDER = [
    "a.txt",
    "b/",
    "b/a.txt",
    "b/deep/",
    "b/deep/z.txt",
    "b/to_a",
    "b.txt",
    "dangling",
    "empty/",
    "run.sh",
    "to_b",
]


def names_of(members: Any) -> list[str]:
    return [member.name for member in members]


def test_a_folder_is_listed_by_name_each_directory_before_what_is_in_it(site: Path) -> None:
    members = Member.from_folder(site)
    assert names_of(members) == ORDER
    assert names_of(members) == ORDER  # once more
    assert names_of(Member.from_folder(str(site), prefix="top")) == [f"top/{n}" for n in ORDER]


def infos(response_class: Any, body: bytes) -> dict[str, tuple[int, str | None, float]]:
    """Mode, target of a link, and seconds, by name."""
    if response_class is TARStreamingResponse:
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            kinds = {
                tarfile.REGTYPE: stat.S_IFREG,
                tarfile.DIRTYPE: stat.S_IFDIR,
                tarfile.SYMTYPE: stat.S_IFLNK,
            }
            return {
                each.name + "/" * each.isdir(): (
                    kinds[each.type] | each.mode,
                    each.linkname or None,
                    each.mtime,
                )
                for each in tar
            }
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return {
            each.filename: (
                mode := each.external_attr >> 16,
                archive.read(each).decode() if stat.S_ISLNK(mode) else None,
                int.from_bytes(each.extra[5:9], "little"),
            )
            for each in archive.infolist()
        }


@both
async def test_a_folder_keeps_content_modes_times_and_links(
    response_class: Any, site: Path, anyio_backend: Any
) -> None:
    body = await body_of(response_class(Member.from_folder(site)))
    found = infos(response_class, body)
    assert list(found) == ORDER
    assert found["run.sh"] == (stat.S_IFREG | 0o750, None, MOMENT.timestamp())
    assert found["empty/"] == (stat.S_IFDIR | 0o700, None, MOMENT.timestamp())
    assert found["b/to_a"][:2] == (stat.S_IFLNK | 0o777, "../a.txt")
    assert found["to_b"][:2] == (stat.S_IFLNK | 0o777, "b")
    assert found["dangling"][:2] == (stat.S_IFLNK | 0o777, "nothing/here")
    files = {name: data for name, data in UNPACK[response_class](body).items() if data}
    assert files.items() >= {n: n.encode() for n in ORDER if n.endswith((".txt", ".sh"))}.items()


@pytest.mark.parametrize("command", ["unzip", "bsdtar", "tar"])
def test_other_programs_unpack_the_links_and_modes(
    command: str, site: Path, tmp_path: Path
) -> None:
    response_class = ZIPStreamingResponse if command == "unzip" else TARStreamingResponse
    path, out = tmp_path / "archive", tmp_path / "out"
    out.mkdir()
    path.write_bytes(anyio.run(body_of, response_class(Member.from_folder(site))))
    options = ["-q", path, "-d", out] if command == "unzip" else ["-xpf", path, "-C", out]
    subprocess.run([tool(command), *options], check=True, stdin=subprocess.DEVNULL)
    assert (out / "to_b").readlink() == Path("b")
    assert (out / "b/to_a").read_text() == "a.txt"
    assert stat.S_IMODE((out / "run.sh").stat().st_mode) == 0o750


OUTWARDS = ["/etc/passwd", "../secret.txt", "b/../../secret.txt", "b/../a.txt", "../site/a.txt"]


@pytest.mark.parametrize("target", OUTWARDS)
def test_a_link_that_may_lead_out_of_the_folder_is_refused_or_left_out(
    target: str, site: Path
) -> None:
    (site / "out").symlink_to(target)
    with pytest.raises(ValueError, match=r"link 'out' .* pass symlinks='inside'"):
        list(Member.from_folder(site))
    assert names_of(Member.from_folder(site, symlinks="inside")) == ORDER
    without = [name for name in ORDER if name not in ("b/to_a", "dangling", "to_b")]
    assert names_of(Member.from_folder(site, symlinks="skip")) == without
    with pytest.raises(ValueError, match="symlinks must be"):
        Member.from_folder(site, symlinks="follow")  # type: ignore[arg-type]


def test_sockets_fifos_and_devices_are_skipped(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(site / "fifo")
    monkeypatch.chdir(site)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert names_of(Member.from_folder(site)) == ORDER


def swap_file(site: Path) -> None:
    (site / "b/deep/z.txt").unlink()
    (site / "b/deep/z.txt").symlink_to("../../../secret.txt")


def swap_directory(site: Path) -> None:
    (site / "b").rename(site.parent / "b")
    (site.parent / "b/deep/z.txt").write_text("secret")
    (site / "b").symlink_to("../b")


def swap_fifo(site: Path) -> None:
    (site / "b/deep/z.txt").unlink()
    os.mkfifo(site / "b/deep/z.txt")


@both
@pytest.mark.parametrize("swap", [swap_file, swap_directory, swap_fifo])
@pytest.mark.parametrize("when", ["before the file is opened", "before it is listed"])
async def test_what_takes_the_place_of_a_file_is_never_read(
    response_class: Any, swap: Callable[[Path], None], when: str, site: Path
) -> None:
    def members() -> Any:
        before = "b/deep/z.txt" if when == "before the file is opened" else "b/"
        for member in Member.from_folder(site, symlinks="inside", compress=False):
            if member.name == before:
                swap(site)
            yield member

    fetched = await fetch(response_class(members()))
    assert b"secret" not in fetched.body
    if fetched.error is not None:
        assert isinstance(fetched.error, OSError)
        assert not fetched.complete


def test_the_folder_itself_may_be_a_link(site: Path) -> None:
    link = site.parent / "link"
    link.symlink_to(site)
    assert names_of(Member.from_folder(link)) == ORDER


@both
@pytest.mark.parametrize(("name", "error"), [("a.txt", NotADirectoryError), ("no", OSError)])
async def test_what_is_no_folder_is_told_before_the_status(
    response_class: Any, name: str, error: Any, site: Path
) -> None:
    with pytest.raises(error):
        await fetch(response_class(Member.from_folder(site / name)))


@both
async def test_names_of_a_folder_are_checked(response_class: Any, site: Path) -> None:
    (site / "A.TXT").write_text("twin")
    fetched = await fetch(response_class(Member.from_folder(site)))
    assert isinstance(fetched.error, ValueError)
    body = await body_of(response_class(Member.from_folder(site), duplicates="rename"))
    assert UNPACK[response_class](body)["a (2).txt"] == b"a.txt"


def test_a_folder_is_found_again_from_another_directory(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(site.parent)
    members = Member.from_folder("site")
    monkeypatch.chdir("/")
    assert names_of(members) == ORDER


def test_a_listed_folder_holds_no_file_open(site: Path) -> None:
    def held() -> list[str]:
        return opened_by("self", site) if os.path.exists("/proc/self/fd") else []

    members = list(Member.from_folder(site))
    assert held() == []
    (run,) = [member.content for member in members if member.name == "run.sh"]
    assert (run.read(3), run.tell(), run.seek(0), run.read()) == (b"run", 3, 0, b"run.sh")
    run.close()
    with pytest.raises(ValueError, match="closed file"):
        run.read()
    assert held() == []


# one member


@both
async def test_a_path_keeps_its_mode_and_a_given_one_goes_before(
    response_class: Any, site: Path
) -> None:
    members = [
        Member("path", site / "run.sh"),
        Member("given", site / "run.sh", mode=0o600),
        Member("bytes", b"", mode=0o755),
        Member("file", (site / "run.sh").open("rb")),
        Member("d/", None, mode=0o700),
        Member("e/", None),
    ]
    found = infos(response_class, await body_of(response_class(members)))
    modes = {name: oct(stat.S_IMODE(mode)) for name, (mode, _, _) in found.items()}
    assert modes == {
        "path": "0o750",
        "given": "0o600",
        "bytes": "0o755",
        "file": "0o644",
        "d/": "0o700",
        "e/": "0o755",
    }


@both
async def test_permissions_to_act_as_another_user_are_not_kept(
    response_class: Any, site: Path
) -> None:
    (site / "run.sh").chmod(0o6755)
    body = await body_of(response_class([Member("run.sh", site / "run.sh")]))
    assert stat.S_IMODE(infos(response_class, body)["run.sh"][0]) == 0o755


@pytest.mark.parametrize(
    ("name", "target", "says"),
    [
        ("a", "/b", "is absolute"),
        ("a", "C:/b", "is absolute"),
        ("a", "", "is empty"),
        ("a", "..", "leads out"),
        ("a", "../b", "leads out"),
        ("d/a", "../../b", "leads out"),
        ("d/a", "./../.././b", "leads out"),
        ("d/a", "b/..", "'..' after another part"),
        ("d/a", "..\\b", "a backslash"),
        ("a", "b\nc", "control character"),
        ("a", "b\udc80", "a lone surrogate"),
        ("a", "b" * 5000, "takes 5000 bytes"),
    ],
)
def test_a_link_out_of_the_archive_is_refused(name: str, target: str, says: str) -> None:
    with pytest.raises(ValueError, match="stays in the archive") as caught:
        ZipMember(name, target, symlink=True)
    assert says in str(caught.value)


def test_wrong_modes_and_links_are_refused_with_the_way_out() -> None:
    with pytest.raises(TypeError, match="must be its target, a str"):
        Member("a", b"b", symlink=True)
    with pytest.raises(ValueError, match="must not end with '/'"):
        Member("a/", "b", symlink=True)
    with pytest.raises(TypeError, match="mode must be an int or None, got str"):
        Member("a", b"", mode="755")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="mode must be an int or None, got bool"):
        Member("a", b"", mode=True)
    with pytest.raises(ValueError, match="mode & 0o777"):
        Member("a", b"", mode=0o100644)


def test_nothing_is_written_through_a_link() -> None:
    members = [Member("a", "b", symlink=True), Member("a/x", b"")]
    with pytest.raises(ValueError, match="'a' as a file already"):
        ZIPStreamingResponse(members)


def test_both_names_are_one_class() -> None:
    assert Member is ZipMember
