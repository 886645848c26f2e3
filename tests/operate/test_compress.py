"""Compressed streams: read back by other readers, live, and cut where they were cut."""

from __future__ import annotations

import gzip
import os
import sys
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import brotli
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import compress
from streamkit.compress import (
    CODINGS,
    Sibling,
    Uncoded,
    available_codings,
    find_sibling,
    make_coder,
    offered_codings,
)

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


class Reader:
    """What a client does with the bytes as they come."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._made: Any = {
            "gzip": lambda: zlib.decompressobj(31),
            "br": brotli.Decompressor,
            "zstd": zstd.ZstdDecompressor,
        }[coding]()

    def read(self, data: bytes) -> bytes:
        if not data:
            return b""
        if self._coding == "br":
            # A call gives 32 KiB at most, and the next one more of it.
            first: bytes = self._made.process(data)
            return first + b"".join(iter(partial(self._made.process, b""), b""))
        read: bytes = self._made.decompress(data)
        return read

    @property
    def ended(self) -> bool:
        return bool(self._made.is_finished() if self._coding == "br" else self._made.eof)


each_coding = pytest.mark.parametrize("coding", CODINGS)
# Chunks, and None where the coder is flushed.
steps = st.lists(
    st.none() | st.binary(max_size=20) | st.sampled_from([b"ab" * 10000, b"x" * 40000])
)


@each_coding
@given(steps=steps)
def test_a_reader_gets_what_was_flushed_and_at_the_end_all(
    coding: str, steps: list[bytes | None]
) -> None:
    coder, reader = make_coder(coding), Reader(coding)
    plain = read = b""
    for step in steps:
        if step is None:
            read += reader.read(coder.flush())
            assert read == plain
        else:
            plain += step
            read += reader.read(coder.compress(step))
    read += reader.read(coder.finish())
    assert read == plain
    assert reader.ended


@each_coding
def test_a_body_that_is_cut_has_no_end(coding: str) -> None:
    coder, reader = make_coder(coding), Reader(coding)
    read = reader.read(coder.compress(b"text") + coder.flush())
    assert (read, reader.ended) == (b"text", False)


def test_without_a_coding_bytes_pass() -> None:
    coder = Uncoded()
    assert (coder.compress(b"text"), coder.flush(), coder.finish()) == (b"text", b"", b"")


@pytest.mark.parametrize(
    ("coding", "level"),
    [("gzip", 1), ("gzip", 9), ("br", 0), ("br", 11), ("zstd", 1), ("zstd", 19)],
)
def test_a_level_is_kept_to(coding: str, level: int) -> None:
    coder = make_coder(coding, level)
    assert Reader(coding).read(coder.compress(b"text") + coder.finish()) == b"text"


@each_coding
def test_a_higher_level_makes_fewer_bytes(coding: str) -> None:
    text = b"".join(b"line %d of a text, %d\n" % (n, n * 7919 % 1009) for n in range(5000))
    sizes = []
    for level in (1, 9):
        coder = make_coder(coding, level)
        sizes.append(len(coder.compress(text) + coder.finish()))
    assert sizes[1] < sizes[0]


@pytest.mark.parametrize(
    ("coding", "level", "message"),
    [
        ("deflate", None, "a coding must be one of zstd, br, gzip, got 'deflate'"),
        ("gzip", 0, "a level of gzip is 1 to 9, got 0"),
        ("br", 12, "a level of br is 0 to 11, got 12"),
        ("zstd", 20, "a level of zstd is 1 to 19, got 20"),
        ("gzip", 4.5, "a level of gzip is 1 to 9, got 4.5"),
    ],
)
def test_a_wrong_coding_or_level_is_refused(coding: str, level: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_coder(coding, level)


@pytest.mark.parametrize("level", [None, 3, 19])
def test_the_window_is_one_that_every_reader_accepts(level: int | None) -> None:
    # RFC 9659: a reader may refuse more than 8 MiB.
    coder = make_coder("zstd", level)
    body = coder.compress(os.urandom(1000)) + coder.finish()
    limits = {zstd.DecompressionParameter.window_log_max: 18}
    assert len(zstd.decompress(body, options=limits)) == 1000


def test_what_is_offered() -> None:
    assert offered_codings(True) == ("zstd", "br", "gzip")
    assert offered_codings(False) == ()
    assert offered_codings(["gzip", "br"]) == ("gzip", "br")
    assert offered_codings("gzip") == ("gzip",)
    with pytest.raises(TypeError, match="compress must be True, False or codings"):
        offered_codings(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="got 'lzma'"):
        offered_codings(["lzma"])


def test_without_the_packages_gzip_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "brotli", None)
    compress._module.cache_clear()
    try:
        assert available_codings() == ("gzip",)
        assert offered_codings(True) == ("gzip",)
        with pytest.raises(ImportError, match=r"pip install 'streamkit\[compress\]'"):
            offered_codings(["br"])
    finally:
        compress._module.cache_clear()


@pytest.fixture
def ready(tmp_path: Path) -> Callable[..., Path]:
    def make(*suffixes: str, older: str = "") -> Path:
        path = tmp_path / "app.js"
        path.write_text("text")
        os.utime(path, (1000, 1000))
        for suffix in suffixes:
            sibling = tmp_path / f"app.js{suffix}"
            sibling.write_bytes(gzip.compress(b"text"))
            at = 999 if suffix == older else 1000
            os.utime(sibling, (at, at))
        return path

    return make


@pytest.mark.parametrize(
    ("suffixes", "accepted", "found"),
    [
        pytest.param((".gz", ".br", ".zst"), "gzip, br, zstd", ".zst", id="our order"),
        pytest.param((".gz", ".br"), "gzip, br, zstd", ".br", id="the best that is there"),
        pytest.param((".gz", ".br"), "gzip, br;q=0.5", ".gz", id="what the request prefers"),
        pytest.param((".br",), "gzip", "", id="not accepted"),
        pytest.param((".gz",), "identity, gzip;q=0.5", "", id="plain bytes preferred"),
        pytest.param((".gz",), "gzip;q=0", "", id="refused"),
        pytest.param((".gz",), None, "", id="no field"),
        pytest.param((), "gzip", "", id="none is there"),
    ],
)
def test_a_precompressed_sibling_is_found(
    ready: Callable[..., Path], suffixes: tuple[str, ...], accepted: str | None, found: str
) -> None:
    path = ready(*suffixes)
    sibling = find_sibling(path, accepted)
    coding = {".zst": "zstd", ".br": "br", ".gz": "gzip"}
    assert sibling == (Sibling(f"{path}{found}", coding[found]) if found else None)


def test_a_sibling_that_is_older_than_the_file_is_not_served(ready: Callable[..., Path]) -> None:
    path = ready(".gz", ".br", older=".br")
    assert find_sibling(path, "br, gzip") == Sibling(f"{path}.gz", "gzip")


def test_a_sibling_whose_time_was_cut_to_whole_seconds_is_served(
    ready: Callable[..., Path],
) -> None:
    path = ready(".br")
    os.utime(path, (1000, 1000.9))
    assert find_sibling(path, "br") == Sibling(f"{path}.br", "br")


def test_a_file_of_the_epoch_has_no_sibling_that_is_not_there(ready: Callable[..., Path]) -> None:
    path = ready()
    os.utime(path, (0, 0))
    assert find_sibling(path, "gzip, br") is None


def test_only_regular_files_are_siblings(ready: Callable[..., Path], tmp_path: Path) -> None:
    path = ready()
    (tmp_path / "app.js.gz").mkdir()
    assert find_sibling(path, "gzip") is None
    assert find_sibling(tmp_path, "gzip") is None
    assert find_sibling("with\0null", "gzip") is None


def test_a_sibling_of_a_missing_file_is_not_served(ready: Callable[..., Path]) -> None:
    path = ready(".gz")
    path.unlink()
    assert find_sibling(path, "gzip") is None
