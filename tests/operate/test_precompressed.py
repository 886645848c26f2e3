"""Files that were compressed beforehand: representations of their own, each with its own tag."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from streamkit import FileStreamingResponse
from streamkit.testing import FetchedResponse, fetch

pytestmark = pytest.mark.anyio

CODINGS = {"": "", "gzip": ".gz", "br": ".br", "zstd": ".zst"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file and its siblings, all of one size and one time: nothing on the disk tells them."""
    path = tmp_path / "app.js"
    for coding, suffix in CODINGS.items():
        file = tmp_path / f"app.js{suffix}"
        file.write_bytes((coding or "plain").encode().ljust(10, b"-") * 100)
        os.utime(file, (1_500_000_000, 1_500_000_000))
    return path


WAYS: dict[str, Callable[[Path], FileStreamingResponse]] = {
    "the file's own": lambda path: FileStreamingResponse(path, precompressed=True),
    "etag=": lambda path: FileStreamingResponse(path, precompressed=True, etag='"v7"'),
    "weak": lambda path: FileStreamingResponse(path, precompressed=True, etag='W/"v7"'),
    "a header": lambda path: FileStreamingResponse(
        path, precompressed=True, headers={"ETag": '"v7"'}
    ),
    "a header without quotes": lambda path: FileStreamingResponse(
        path, precompressed=True, headers={"etag": "v7"}
    ),
}
every_way = pytest.mark.parametrize("way", WAYS)


async def get(path: Path, way: str, coding: str, **fields: str) -> FetchedResponse:
    headers = {"accept-encoding": coding} | {k.replace("_", "-"): v for k, v in fields.items()}
    return await fetch(WAYS[way](path), headers=headers)


@every_way
async def test_each_coding_has_a_tag_of_its_own_by_which_a_client_knows_it_again(
    path: Path, way: str
) -> None:
    held = {coding: (await get(path, way, coding)).headers["etag"] for coding in CODINGS}
    assert len(set(held.values())) == len(CODINGS)
    for (coding, etag), (other, _) in itertools.product(held.items(), held.items()):
        got = await get(path, way, other, if_none_match=etag)
        assert got.status == (304 if other == coding else 200)
        assert got.headers["etag"] == held[other]
        assert got.headers["vary"] == "Accept-Encoding"
        got = await get(path, way, other, if_match=etag)
        assert got.status == (200 if other == coding and way != "weak" else 412)
    # A cache that holds all of them learns which one to use.
    got = await get(path, way, "gzip", if_none_match=", ".join(held.values()))
    assert (got.status, got.headers["etag"]) == (304, held["gzip"])


@every_way
async def test_what_was_begun_in_one_coding_is_not_resumed_in_another(path: Path, way: str) -> None:
    held = {coding: (await get(path, way, coding)).headers["etag"] for coding in CODINGS}
    for (coding, etag), (other, _) in itertools.product(held.items(), held.items()):
        got = await get(path, way, other, range="bytes=10-", if_range=etag)
        same = other == coding and way != "weak"
        assert got.status == (206 if same else 200)
        whole = path.with_name(f"app.js{CODINGS[other]}").read_bytes()
        assert got.body == (whole[10:] if same else whole)


async def test_several_ranges_are_parts_of_the_plain_file_and_the_whole_of_a_sibling(
    path: Path,
) -> None:
    plain = await get(path, "etag=", "", range="bytes=0-1,4-5")
    assert plain.headers["content-type"].startswith("multipart/byteranges")
    coded = await get(path, "etag=", "gzip", range="bytes=0-1,4-5")
    assert (coded.status, coded.headers["content-encoding"]) == (200, "gzip")
    assert coded.body == path.with_name("app.js.gz").read_bytes()


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_date_that_all_codings_share_resumes_none(path: Path, coding: str) -> None:
    date = (await get(path, "etag=", coding)).headers["last-modified"]
    assert (await get(path, "etag=", coding, if_modified_since=date)).status == 304
    got = await get(path, "etag=", coding, range="bytes=10-", if_range=date)
    assert got.status == 200


async def test_a_date_resumes_a_file_of_which_there_is_nothing_else(path: Path) -> None:
    date = (await fetch(FileStreamingResponse(path))).headers["last-modified"]
    fields = {"accept-encoding": "gzip", "range": "bytes=10-", "if-range": date}
    assert (await fetch(FileStreamingResponse(path), headers=fields)).status == 206


@pytest.mark.parametrize("status", [200, 404])
async def test_another_answer_than_a_200_has_no_validator_of_its_own(
    path: Path, status: int
) -> None:
    response = FileStreamingResponse(path, status, precompressed=True, etag='"v7"')
    got = await fetch(response, headers={"accept-encoding": "gzip"})
    assert got.headers.get("etag") == ('"v7--gzip"' if status == 200 else None)
