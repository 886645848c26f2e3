"""What a reader makes of a body, where two writers of one format may differ in the bytes."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any


def json_lines(body: bytes) -> list[Any]:
    return [json.loads(line) for line in body.splitlines()]


def event_fields(body: bytes) -> list[bytes]:
    """Without comments; writers differ in line ends and in the order of an event's fields."""
    fields = [line for line in body.splitlines() if line and not line.startswith(b":")]
    return sorted(line.replace(b": ", b":", 1) for line in fields)


def members(body: bytes) -> list[tuple[str, int, int]]:
    with zipfile.ZipFile(io.BytesIO(body)) as archive:
        return [(info.filename, info.file_size, info.CRC) for info in archive.infolist()]
