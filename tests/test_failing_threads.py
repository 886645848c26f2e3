"""A thread comes to its end while the loop, at any line of its code, looks at what it has made."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

import streamkit
from streamkit import (
    CSVStreamingResponse,
    JSONArrayStreamingResponse,
    JSONLinesStreamingResponse,
    MultipartStreamingResponse,
    SSEStreamingResponse,
    StreamingResponse,
    ZipMember,
    ZIPStreamingResponse,
    iterate_from_thread,
    iterate_in_threadpool,
    iterate_writes,
)
from streamkit.body.queue import Queue
from streamkit.threads import Burst
from tests.attack.contents import Client
from tests.conftest import BACKENDS

pytestmark = pytest.mark.anyio

ROOT = Path(streamkit.__file__).parent
# What looks at a queue: only there another side's step may fall between two looks.
LOOKS = {
    str(ROOT / name)
    for name in ("sender.py", "content.py", "iterate.py", "body/queued.py", "body/queue.py")
}
# Seconds after which nobody comes to a further line.
PATIENCE = 0.06


class Broken(Exception):
    pass


class Moment:
    """The k-th line that one side runs: there the other side comes to its end."""

    def __init__(self, at: int) -> None:
        self._left = at
        # Whether the other side waits for this moment.
        self.awaited = threading.Event()
        self.come = threading.Event()
        self.finished = threading.Event()

    def trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename not in LOOKS:
            return None
        if event == "line" and self.awaited.is_set() and not self.finished.is_set():
            self._left -= 1
            if not self._left:
                self.come.set()
                assert self.finished.wait(10)
        return self.trace

    @property
    def was_reached(self) -> bool:
        return self._left <= 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self.trace)
        try:
            yield
        finally:
            sys.settrace(before)


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Iterator[Moment]]:
    """Each moment, until there are no more lines; a queue's end is what a moment waits for."""
    current: list[Moment] = []
    finish = Queue.finish

    def finish_and_say(queue: Queue, error: BaseException | None = None) -> None:
        finish(queue, error)
        if isinstance(error, Broken):
            current[-1].finished.set()

    monkeypatch.setattr(Queue, "finish", finish_and_say)

    def each() -> Iterator[Moment]:
        at, misses = 1, 0
        # Again, for a machine on which the other side did not wait long enough.
        while misses < (2 if at > 3 else 30):
            current.append(Moment(at))
            yield current[-1]
            if current[-1].was_reached:
                at, misses = at + 1, 0
            else:
                misses += 1
        assert at > 3

    return each


def failing(moment: Moment, item: Any, before: int = 0) -> Iterator[Any]:
    """Fails after its last item, before which there were others that were sent by themselves."""
    for _ in range(before):
        yield item
    moment.awaited.set()
    yield item
    # The one who looks may have nothing left to do but to wait as well.
    moment.come.wait(PATIENCE)
    raise Broken


def write(moment: Moment, file: Any) -> None:
    for item in failing(moment, b"x"):
        file.write(item)


def members(moment: Moment) -> Iterator[ZipMember]:
    yield ZipMember("a", b"x")
    yield ZipMember("b", failing(moment, b"x"))


RESPONSES: dict[str, Callable[[Moment], Any]] = {
    "text": lambda moment: StreamingResponse(failing(moment, "x")),
    "text, later": lambda moment: StreamingResponse(failing(moment, "x", 1)),
    "one thread": lambda moment: StreamingResponse(failing(moment, "x"), thread_affine=True),
    "lines": lambda moment: JSONLinesStreamingResponse(
        failing(moment, {"a": 1}), error_frames=True
    ),
    "array": lambda moment: JSONArrayStreamingResponse(failing(moment, {"a": 1}, 1)),
    "csv": lambda moment: CSVStreamingResponse(failing(moment, {"a": 1}, 1)),
    "events": lambda moment: SSEStreamingResponse(failing(moment, "x"), error_frames=True),
    "parts": lambda moment: MultipartStreamingResponse(
        failing(moment, b"x"), part_media_type="image/jpeg"
    ),
    "compressed": lambda moment: StreamingResponse(failing(moment, "x"), compress=True),
    "limited": lambda moment: StreamingResponse(failing(moment, "x"), send_timeout=10),
    "writes": lambda moment: StreamingResponse(iterate_writes(partial(write, moment))),
    "stream": lambda moment: StreamingResponse(iterate_in_threadpool(failing(moment, b"x"))),
    "zip": lambda moment: ZIPStreamingResponse(members(moment)),
}


# Some on every loop, and each on one of them.
ON_ALL = ("text", "text, later")
PAIRS = [
    pytest.param(backend.values[0], kind, id=f"{backend.id}-{kind}")
    for number, kind in enumerate(RESPONSES)
    for place, backend in enumerate(BACKENDS)
    if kind in ON_ALL or place == number % len(BACKENDS)
]


@pytest.mark.parametrize(("anyio_backend", "kind"), PAIRS)
async def test_a_thread_that_fails_between_two_lines_never_ends_the_body_cleanly(
    kind: str, moments: Callable[[], Iterator[Moment]]
) -> None:
    for moment in moments():
        client, raised = Client(suspends=False), False
        with moment.watching():
            try:
                await client.request(RESPONSES[kind](moment))
            except Broken:
                raised = True
        assert (raised, client.complete) == (True, False)


async def test_a_thread_that_fails_between_two_lines_of_its_reader_raises_there(
    moments: Callable[[], Iterator[Moment]],
) -> None:
    for moment in moments():
        items = []
        with moment.watching():
            try:
                async for item in iterate_in_threadpool(failing(moment, "x", 1)):
                    items.append(item)
            except Broken:
                items.append("broken")
        assert items == ["x", "x", "broken"]


async def test_a_task_that_fails_between_two_lines_of_its_reader_raises_there(
    moments: Callable[[], Iterator[Moment]],
) -> None:
    async def failing_later(moment: Moment) -> AsyncIterator[str]:
        yield "x"
        moment.awaited.set()
        yield "x"
        with anyio.move_on_after(PATIENCE):
            while not moment.come.is_set():
                await anyio.lowlevel.checkpoint()
        raise Broken

    def read(moment: Moment) -> list[str]:
        items = []
        with moment.watching():
            try:
                for item in iterate_from_thread(failing_later(moment)):
                    items.append(item)
            except Broken:
                items.append("broken")
        return items

    for moment in moments():
        assert await anyio.to_thread.run_sync(read, moment) == ["x", "x", "broken"]


@pytest.mark.parametrize("name", ["stop", "kill"])
def test_a_thread_may_end_its_wait_while_its_stream_is_stopped(name: str) -> None:
    told = []

    class Waited:
        def stop(self) -> None:
            told.append("stop")

        def kill(self) -> None:
            told.append("kill")

    class Ending(Burst):
        """Waits when it is looked at first, and not any more the second time."""

        looks = 0

        @property
        def waits_for(self) -> Any:
            self.looks += 1
            return Waited() if self.looks == 1 else None

        @waits_for.setter
        def waits_for(self, thing: Any) -> None:
            pass

    burst: Any = Ending(None, bool)  # type: ignore[arg-type]
    getattr(burst, name)()
    assert told == [name]
