"""What a reader makes of a body, where two writers of one format may differ in the bytes."""

from __future__ import annotations

import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from importlib import import_module
from typing import Any


def json_lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def coded_json_lines(body: bytes) -> list[Any]:
    """Of whichever coding the first bytes are."""
    return json_lines(decoder_of(body)(body))


def decoder_of(body: bytes) -> Callable[[bytes], bytes]:
    """A decoder that takes a body bit by bit, told by the body's first bytes."""
    if body[:2] == b"\x1f\x8b":
        return zlib.decompressobj(31).decompress
    if body[:4] == b"\x28\xb5\x2f\xfd":
        zstd = import_module(
            "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
        )
        decoder: Callable[[bytes], bytes] = zstd.ZstdDecompressor().decompress
        return decoder
    return bytes


def event_fields(body: bytes) -> list[bytes]:
    """Without comments; writers differ in line ends and in the order of an event's fields."""
    fields = [line for line in body.splitlines() if line and not line.startswith(b":")]
    return sorted(line.replace(b": ", b":", 1) for line in fields)


def members(body: bytes) -> list[tuple[str, int, int]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
