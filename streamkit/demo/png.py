"""A PNG picture, made a line of pixels at a time with the standard library."""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterable, Iterator

__all__ = ["encode_png", "paint_waves"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
BITS, RGB = 8, 2
# What the dark is, and what each wave adds to it.
NIGHT, TEAL, AMBER, VIOLET = (14, 22, 32), (8, 120, 95), (180, 85, 8), (50, 18, 100)


def encode_png(width: int, height: int, lines: Iterable[bytes]) -> Iterator[bytes]:
    """Encode lines of RGB pixels; each chunk shows one more line in a browser."""
    header = struct.pack(">IIBBBBB", width, height, BITS, RGB, 0, 0, 0)
    deflate = zlib.compressobj()
    yield SIGNATURE + _chunk(b"IHDR", header)
    for line in lines:
        # The zero says that the line is not filtered.
        data = deflate.compress(b"\0" + line) + deflate.flush(zlib.Z_SYNC_FLUSH)
        yield _chunk(b"IDAT", data)
    yield _chunk(b"IDAT", deflate.flush()) + _chunk(b"IEND", b"")


def paint_waves(width: int, height: int, phase: float = 0.0) -> Iterator[bytes]:
    """Paint waves that meet: lines of `width` RGB pixels, three bytes each.

    They spread as `phase` grows, and look the same again after 2 pi of it.
    """
    for y in range(height):
        line = bytearray()
        for x in range(width):
            left, middle, right = (
                (1 + math.sin(math.hypot(x - shift, y) / 17 + shift - phase)) / 2
                for shift in (0, width // 2, width)
            )
            for night, teal, amber, violet in zip(NIGHT, TEAL, AMBER, VIOLET, strict=True):
                line.append(round(night + teal * left + amber * middle + violet * right))
        yield bytes(line)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)
