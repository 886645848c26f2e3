"""Ids of Redis Streams, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streamkit.live.errors import Gone
from streamkit.live.memory_stream import ZERO
from streamkit.live.records import END, Record

__all__ = [
    "LARGEST",
    "LONGEST",
    "Entry",
    "before",
    "floor_of",
    "generation_of",
    "hide",
    "is_whole",
    "milliseconds",
    "parse",
    "record_of",
    "show",
]

# Redis' id of a record, and its fields.
Entry = tuple[bytes, list[bytes]]

LARGEST = 2**64 - 1
# Seconds that Redis and sockets take: 30 years.
LONGEST = 1e9
_shown = re.compile(r"(\d{13})-(\d{10})")


def show(raw: bytes) -> str:
    """Redis' id with leading zeros, so that ids sort as strings."""
    time, _, number = raw.partition(b"-")
    shown = b"9999999999" if len(number) > 10 else number.rjust(10, b"0")
    return f"{time.rjust(13, b'0').decode()}-{shown.decode()}"


def parse(shown: str) -> tuple[int, int]:
    """The two numbers of an id; `Gone` for what this log never gave."""
    found = _shown.fullmatch(shown)
    if found is None or not shown.isascii():
        raise Gone(shown)
    number = int(found[2])
    return int(found[1]), LARGEST if number == 9_999_999_999 else number


def hide(shown: str) -> str:
    """Redis' form of an id."""
    return "{}-{}".format(*parse(shown))


def before(raw: bytes) -> str:
    """The id right before one of Redis'."""
    time, number = map(int, raw.split(b"-"))
    if number:
        return show(f"{time}-{number - 1}".encode())
    return show(f"{time - 1}-{LARGEST}".encode())


def floor_of(about: Any) -> tuple[str, int]:
    """The id before the oldest record of a channel, and how many there are, as XINFO has it."""
    if isinstance(about, Exception):
        # Nothing was published, or all is forgotten.
        return ZERO, 0
    fields = dict(zip(about[::2], about[1::2], strict=True))
    size = fields[b"length"]
    if not size:
        return show(fields[b"last-generated-id"]), 0
    # Who came before the first item has missed nothing as long as none was dropped.
    has_all = fields.get(b"entries-added") == size
    return ZERO if has_all else before(fields[b"first-entry"][0]), size


def is_whole(entries: Sequence[Entry], after: str) -> bool:
    """Whether entries of a run come right after an id of it: Redis may have lost some of them."""
    generation, number = parse(after)
    for raw, fields in entries:
        began, count = map(int, raw.split(b"-"))
        if fields[0] == END.encode():
            # How many items there were, if its producer has ended it.
            count = int(fields[3]) if len(fields) > 3 else number
        else:
            number += 1
        if (began, count) != (generation, number):
            return False
    return True


def record_of(entry: Entry) -> Record:
    """The record of an entry."""
    raw, fields = entry
    return Record(show(raw), fields[0].decode(), fields[1])


def generation_of(fields: list[bytes]) -> tuple[int, str]:
    """Generation and token in the record of a run's beginning."""
    return int(fields[1]), fields[3].decode()


def milliseconds(seconds: float) -> int:
    """Whole milliseconds, at least one."""
    return max(int(min(seconds, LONGEST) * 1000), 1)
