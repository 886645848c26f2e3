"""Members of every kind come back as they were."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import (
    iterate_in_threadpool,
    iterate_writes,
)
from streamkit.archives import ZipMember, ZIPStreamingResponse
from streamkit.testing import fetch
from tests.archives.members import (
    EVERY_KIND,
    UNPACK,
    async_rows,
    body_of,
    both,
    every_kind,
    rows,
    unzipped,
)

pytestmark = pytest.mark.anyio


@both
async def test_every_kind_of_content_arrives_unchanged(
    response_class: Any, directory: Path, anyio_backend: Any
) -> None:
    body = await body_of(response_class(every_kind(directory)))
    assert UNPACK[response_class](body) == {"a directory/": b"", **EVERY_KIND}


@both
@pytest.mark.parametrize("wrap", [list, tuple, iter, rows, async_rows], ids=lambda w: w.__name__)
async def test_members_come_from_any_iterable(
    response_class: Any, wrap: Any, anyio_backend: Any
) -> None:
    members = [ZipMember("a", b"1"), ZipMember("b/", None), ZipMember("b/c", async_rows("2"))]
    content = wrap(*members) if wrap in (rows, async_rows) else wrap(members)
    body = await body_of(response_class(content))
    assert UNPACK[response_class](body) == {"a": b"1", "b/": b"", "b/c": b"2"}


class OldSequence:
    """Iterable by `__getitem__`'s younger sibling: an iterator that has no `__iter__`."""

    def __init__(self, *items: Any) -> None:
        self.items = list(items)

    def __iter__(self) -> Any:
        return Bare(self.items)


class Bare:
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __next__(self) -> Any:
        if not self.items:
            raise StopIteration
        return self.items.pop(0)


async def test_an_iterator_without_iter_is_enough() -> None:
    members = OldSequence(ZipMember("a", OldSequence("b", "c")))
    assert unzipped(await body_of(ZIPStreamingResponse(members))) == {"a": b"bc"}


@both
@pytest.mark.parametrize("wrap", [list, iter, async_rows], ids=lambda w: w.__name__)
async def test_no_members_make_an_empty_archive(
    response_class: Any, wrap: Any, anyio_backend: Any
) -> None:
    content = async_rows() if wrap is async_rows else wrap([])
    assert UNPACK[response_class](await body_of(response_class(content))) == {}


READY: dict[str, Callable[[bytes, Path], Any]] = {
    "bytes": lambda body, _: body,
    "path": lambda _, path: path,
    "file": lambda _, path: path.open("rb"),
    "list": lambda body, _: [body[:10], body[10:]],
    "generator": lambda body, _: rows(body[:10], body[10:]),
    "async generator": lambda body, _: async_rows(body[:10], body[10:]),
    "writes": lambda body, _: iterate_writes(lambda file: file.write(body)),
    "threadpool": lambda body, _: iterate_in_threadpool(rows(body)),
}


@both
@pytest.mark.parametrize("kind", READY)
async def test_a_ready_archive_is_sent_as_it_is(
    response_class: Any, kind: str, tmp_path: Path, anyio_backend: Any
) -> None:
    body = b"any bytes, not looked at" * 1000
    path = tmp_path / "ready"
    path.write_bytes(body)
    fetched = await fetch(response_class(READY[kind](body, path)))
    assert fetched.body == body
    assert fetched.headers["content-type"] in ("application/zip", "application/x-tar")


NAMES = st.lists(
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/\\:"), min_size=1)
    .filter(lambda part: part not in (".", ".."))
    .map(lambda part: part[:40]),
    min_size=1,
    max_size=4,
).map("/".join)
CHUNKS = st.lists(st.binary(max_size=200) | st.text(st.characters(exclude_categories=["Cs"])))
MEMBERS = st.lists(
    st.tuples(NAMES, CHUNKS, st.booleans(), st.sampled_from(["sync", "async", "whole", "file"])),
    unique_by=lambda member: member[0],
    max_size=6,
)


def _member(name: str, chunks: list[Any], compress: bool, kind: str) -> tuple[ZipMember, bytes]:
    data = b"".join(c.encode() if isinstance(c, str) else c for c in chunks)
    contents: dict[str, Callable[[], Any]] = {
        "sync": lambda: rows(*chunks),
        "async": lambda: async_rows(*chunks),
        "whole": lambda: data,
        "file": lambda: io.BytesIO(data),
    }
    return ZipMember(name, contents[kind](), compress=compress), data


@both
@given(given_members=MEMBERS)
def test_any_members_cut_anywhere_come_back(response_class: Any, given_members: Any) -> None:
    async def round_trip() -> bytes:
        members = [member for member, _ in made]
        return await body_of(response_class(members, names="posix"))

    made = [
        _member(f"{number}/{name}", *rest) for number, (name, *rest) in enumerate(given_members)
    ]
    expected = {member.name: data for member, data in made}
    assert UNPACK[response_class](anyio.run(round_trip)) == expected


async def test_the_core_answers_ranges_of_a_ready_archive(tmp_path: Path) -> None:
    path = tmp_path / "ready.zip"
    path.write_bytes(b"0123456789")
    fetched = await fetch(ZIPStreamingResponse(path), headers={"range": "bytes=2-4"})
    assert (fetched.status, fetched.body) == (206, b"234")


async def test_a_file_name_is_sent() -> None:
    fetched = await fetch(ZIPStreamingResponse([], filename="export.zip"))
    assert fetched.headers["content-disposition"].startswith("attachment")
    assert "export.zip" in fetched.headers["content-disposition"]
