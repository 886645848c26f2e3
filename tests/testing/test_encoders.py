"""The published check of encoders: ours pass, and each broken one is caught."""

from __future__ import annotations

import csv
import gc
import io
import json
import threading
import time
from datetime import UTC, datetime
from typing import Any, ClassVar

import orjson
import pytest
from pydantic import BaseModel

from streamkit import MultipartPart, ServerSentEvent
from streamkit.encoders.csv import CSVEncoder
from streamkit.encoders.jsonarray import JSONArrayEncoder
from streamkit.encoders.jsonlines import JSONLinesEncoder
from streamkit.encoders.multipart import MultipartEncoder
from streamkit.encoders.sse import SSEEncoder
from streamkit.encoders.text import TextEncoder
from streamkit.testing import check_encoder
from tests.formats.support import read_lines

pytestmark = pytest.mark.anyio


class Event(BaseModel):
    id: int


ROWS: list[Any] = [{"id": 1, "name": "a"}, {"id": 2, "name": "ö\u2028"}, {"id": 3, "name": None}]
EVENTS: list[Any] = [
    "text",
    "two\nlines",
    "\ud800",
    b": raw\n\n",
    {"a": 1},
    Event(id=1),
    ServerSentEvent("a", event="token"),
    ServerSentEvent("a", id="7", retry=5, comment="c"),
    ServerSentEvent({"a": 1}, event="row"),
    ServerSentEvent(id=""),
]
PARTS: list[Any] = [b"a", bytearray(b"b"), MultipartPart(b"c", "text/html", {"X-A": "1"}), b"d"]


def read_csv(body: bytes) -> list[Any]:
    rows = csv.DictReader(io.StringIO(body.decode(), newline=""))
    return [{"id": int(row["id"]), "name": row["name"] or None} for row in rows]


CHECKED: list[Any] = [
    (TextEncoder, ["a", b"b", memoryview(b"c")], None),
    (JSONLinesEncoder, ROWS, read_lines),
    (lambda: JSONLinesEncoder(orjson.dumps), ROWS, read_lines),
    (lambda: JSONLinesEncoder(adapter=dict[str, Any], nan="error"), ROWS, read_lines),
    (JSONArrayEncoder, ROWS, json.loads),
    (SSEEncoder, EVENTS, None),
    (CSVEncoder, ROWS, read_csv),
    (lambda: CSVEncoder(["id", "name"], excel=True, escape_formulas=True), ROWS, None),
    (lambda: MultipartEncoder("text/plain", b"b"), PARTS, None),
    (lambda: MultipartEncoder("text/plain", b"b", replace=True), PARTS, None),
]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(("make", "items", "read"), CHECKED)
def test_each_encoder_passes_the_check(
    make: Any, items: Any, read: Any, anyio_backend: str
) -> None:
    fresh = make()
    expected = b"".join([*map(fresh.encode, items), fresh.finish()])

    assert check_encoder(make, iter(items), read=read) == expected


class Good:
    """The encoder that the others break."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, item: Any) -> Any:
        self.count += 1
        return f"{self.count}:{item}\n".encode()

    def finish(self) -> Any:
        return b"end\n"

    def keep_alive(self) -> Any:
        return b"\n"

    def error(self, exc_type: str, detail: str | None) -> Any:
        return b"error\n"


class NoFinish:
    def encode(self, item: Any) -> bytes:
        return b""


class GivesText(Good):
    def encode(self, item: Any) -> Any:
        return f"{item}\n"


class ReusesItsBuffer(Good):
    def __init__(self) -> None:
        self.buffer = bytearray()

    def encode(self, item: Any) -> Any:
        self.buffer[:] = str(item).encode()
        return self.buffer


class IsAsync(Good):
    async def encode(self, item: Any) -> Any:
        return b""


class Raises(Good):
    def encode(self, item: Any) -> Any:
        return item.encode()


class FinishesWithNothing(Good):
    def finish(self) -> Any:
        return None


class CannotBeEmpty(Good):
    def encode(self, item: Any) -> Any:
        self.last = item
        return b"%d\n" % item

    def finish(self) -> Any:
        return b"%d\n" % self.last


class HoldsBack(Good):
    def __init__(self) -> None:
        self.held = b""

    def encode(self, item: Any) -> Any:
        self.held += b"%d\n" % item
        return b""

    def finish(self) -> Any:
        return self.held


class KeepsStateOnTheClass(Good):
    seen: ClassVar[list[Any]] = []

    def encode(self, item: Any) -> Any:
        self.seen.append(item)
        return b"%d\n" % len(self.seen)


class SharesBetweenStreams(Good):
    owner: ClassVar[Any] = None

    def encode(self, item: Any) -> Any:
        before, SharesBetweenStreams.owner = SharesBetweenStreams.owner, self
        return b"same\n" if before is self else b"other\n"


class CountsKeepAlives(Good):
    def keep_alive(self) -> Any:
        self.count += 1
        return b"\n"


class EmptyKeepAlive(Good):
    def keep_alive(self) -> Any:
        return b""


class DiesOfSurrogates(Good):
    def error(self, exc_type: str, detail: str | None) -> Any:
        return (detail or exc_type).encode()


class EmptyError(Good):
    def error(self, exc_type: str, detail: str | None) -> Any:
        return b""


class BoundToAThread(Good):
    def __init__(self) -> None:
        self.local = threading.local()
        self.local.count = 0

    def encode(self, item: Any) -> Any:
        self.local.count = getattr(self.local, "count", 10) + 1
        return b"%d\n" % self.local.count


class DiesOnAnotherThread(Good):
    def __init__(self) -> None:
        self.thread = threading.get_ident()

    def encode(self, item: Any) -> Any:
        if threading.get_ident() != self.thread:
            raise RuntimeError("made on another thread")
        return b"%d\n" % item


class LooksAtTheClock(Good):
    def encode(self, item: Any) -> Any:
        return b"%d\n" % (time.time() > item)


class AsksForToday(Good):
    def encode(self, item: Any) -> Any:
        return b"late\n" if datetime.now(UTC).year > item else b"early\n"


class OpensAFile(Good):
    def encode(self, item: Any) -> Any:
        with open(__file__, "rb") as file:
            return file.readline()


class Prints(Good):
    def finish(self) -> Any:
        print("done")
        return b""


class BadFraming(Good):
    def keep_alive(self) -> Any:
        return b"0:?\n"


ONE = Good()


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (NoFinish, "make() must give an encoder, and NoFinish has no finish()"),
        (GivesText, r"GivesText.encode(1) must return bytes, got str: '1\n'"),
        (ReusesItsBuffer, "ReusesItsBuffer.encode(1) must return bytes, got bytearray"),
        (IsAsync, "IsAsync.encode(1) must be a plain function, not async"),
        (Raises, "Raises.encode(1) must return bytes, and raised AttributeError"),
        (FinishesWithNothing, "FinishesWithNothing.finish() must return bytes, got NoneType"),
        (CannotBeEmpty, "CannotBeEmpty.finish() must return bytes, and raised AttributeError"),
        (HoldsBack, "encode() gave nothing for any of 2 items, and finish() 4 bytes"),
        (lambda: ONE, "make() must give a fresh encoder each time"),
        (KeepsStateOnTheClass, r"item 1 gave b'1\n' at first, and b'5\n' in another stream"),
        (SharesBetweenStreams, r"and b'other\n' with two streams at the same time"),
        (CountsKeepAlives, r"item 1 gave b'1:1\n' at first, and b'2:1\n' after a keep-alive"),
        (BoundToAThread, r"item 1 gave b'1\n' at first, and b'11\n' on another thread"),
        (
            DiesOnAnotherThread,
            "must return bytes, and raised RuntimeError('made on another thread')",
        ),
        (EmptyKeepAlive, "keep_alive() must give what readers ignore, and gave nothing"),
        (DiesOfSurrogates, "must return bytes, and raised UnicodeEncodeError"),
        (EmptyError, "error('ValueError', None) must give a frame, and gave nothing"),
        (LooksAtTheClock, "LooksAtTheClock must neither do I/O nor look at the clock, and called"),
        (AsksForToday, "and called datetime.now() in encode()"),
        (OpensAFile, "and called open() in encode()"),
        (Prints, "and called print() in finish()"),
        (BadFraming, "the body with keep-alives must be read as [1, 2], and was read as ["),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_the_check_catches_a_broken_encoder(make: Any, complaint: str, anyio_backend: str) -> None:
    def read(body: bytes) -> list[int]:
        lines = body.replace(b"end\n", b"").split()
        return [0 if line.endswith(b"?") else int(line.split(b":")[-1]) for line in lines]

    KeepsStateOnTheClass.seen.clear()
    with pytest.raises(AssertionError) as caught:
        check_encoder(make, [1, 2], read=read if make is BadFraming else None)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
def test_the_check_of_an_encoder_leaves_the_garbage_collector_as_it_was(anyio_backend: str) -> None:
    gc.disable()
    try:
        check_encoder(Good, [1, 2])
        assert not gc.isenabled()
    finally:
        gc.enable()
    check_encoder(Good, [1, 2])
    assert gc.isenabled()
