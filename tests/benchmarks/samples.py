"""What both sides send: lines, blocks and files, made once and the same for everyone."""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

DIRECTORY = "STREAMKIT_BENCHMARK_FILES"  # environment: where the sample files are
MB, MIB, GIB = 1e6, 1 << 20, 1 << 30
BLOCK = random.Random(2).randbytes(1 << 20)


@cache
def line_list(n: int) -> list[str]:
    """The lines are made beforehand, so that a row measures the response and not the making."""
    return [f"line {number}\n" for number in range(n)]


def lines(n: int) -> Iterator[str]:
    yield from line_list(n)


def blocks(n: int) -> Iterator[bytes]:
    for _ in range(n >> 16):
        yield BLOCK[: 1 << 16]


@cache
def blob(size: int) -> bytes:
    """Random bytes in memory; a newline every 256 bytes or so, as in any binary file."""
    return (BLOCK * (size // len(BLOCK) + 1))[:size]


def sample(size: int) -> Path:
    """The same bytes in a file; on disk before this returns, so that its cache can be dropped."""
    path = Path(os.environ[DIRECTORY], "file", f"{size}.bin")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        with open(path, "wb") as file:
            for start in range(0, size, len(BLOCK)):
                file.write(BLOCK[: size - start])
            file.flush()
            os.fsync(file.fileno())
    return path


def middle(size: int) -> tuple[int, int]:
    """The first and the last of the 64 KiB in the middle."""
    return size // 2, size // 2 + 0xFFFF


def sparse(size: int) -> Path:
    """A file of holes, but for 64 KiB in its middle."""
    path = Path(os.environ[DIRECTORY], "sparse", f"{size}.bin")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        first, last = middle(size)
        with open(path, "wb") as file:
            file.seek(first)
            file.write(blob(last - first + 1))
            file.truncate(size)
    return path


def make_samples(url: str) -> str:
    """The URL as it is; every `<size>.bin` in it exists afterwards."""
    for folder, size in re.findall(r"(\w+)/(\d+)\.bin", url):
        (sparse if folder == "sparse" else sample)(int(size))
    return url
