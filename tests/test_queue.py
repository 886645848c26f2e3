"""The queue between threads: no item is lost or changes its place, and no wake is lost.

The races last some steps of the interpreter, so each test runs many of them, with threads that
change as often as the interpreter lets them.
"""

from __future__ import annotations

import itertools
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from streamkit.body.base import Coding, Pace
from streamkit.body.queue import Queue, ThreadSignal

# Seconds after which a wake counts as lost: far more than any takes.
LOST = 30


@pytest.fixture(autouse=True)
def _threads_change_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Both:
    """A queue, and the signals that its two sides wait for."""

    def __init__(self, max_buffer: int) -> None:
        self.filled, self.emptied = ThreadSignal(), ThreadSignal()
        self.queue = Queue(
            Coding(max_buffer=max_buffer), wake_reader=self.filled.set, wake_writer=self.emptied.set
        )
        self.lost: list[str] = []

    def produce(self, items: Iterator[bytes]) -> None:
        """Add all items, in bursts that end when there is no room."""
        queue, pace = self.queue, Pace(0.001)

        def goes_on() -> bool:
            return not queue.stopped and queue.has_room()

        while not queue.stopped:
            pace.begin()
            if queue.fill(items, pace, goes_on):
                break
            while not queue.stopped and not queue.has_room():
                if not self.emptied.wait(LOST):
                    self.lost.append("the writer's")
                    return
        queue.finish()

    def read(self, most: int | None = None) -> Iterator[bytes]:
        """Take items until the end."""
        queue = self.queue
        while not queue.drained:
            if queue.is_idle() and not self.filled.wait(LOST):
                self.lost.append("the reader's")
                return
            yield from queue.take(most)


def on_a_thread(function: Callable[..., Any], *arguments: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("most", [None, 1])
@pytest.mark.parametrize("max_buffer", [1, 64, 4096])
def test_items_come_out_as_they_went_in_and_no_wake_is_lost(
    max_buffer: int, most: int | None
) -> None:
    both = Both(max_buffer)
    count = 3000
    writer = on_a_thread(both.produce, (b"%d" % number for number in range(count)))

    taken = list(both.read(most))
    writer.join(LOST)
    assert both.lost == []
    assert taken == [b"%d" % number for number in range(count)]


def test_a_stop_reaches_the_writer_wherever_it_is() -> None:
    for turn in range(150):
        both = Both(64)
        writer = on_a_thread(both.produce, itertools.repeat(b"item"))
        reader = on_a_thread(list, both.read())
        # Another moment each time: before the first item, within a burst, while there is no room.
        for _ in range(turn):
            pass
        both.queue.stop()

        writer.join(LOST)
        reader.join(LOST)
        assert not writer.is_alive()
        assert not reader.is_alive()
        assert both.lost == []
        both.queue.take()
        assert both.queue.drained


class Interrupted(Queue):
    """Lets the other side act at the last moment before a side sets a flag of its own."""

    __slots__ = ("_flags", "between")

    def _get(self, name: str) -> bool:
        return bool(self._flags[name])

    def _set(self, name: str, value: bool) -> None:
        between = getattr(self, "between", None)
        # The writer sets `attention` to False, and the flags of those who wait to True.
        if between is not None and value is not (name == "attention"):
            self.between = None
            between()
        self._flags = {**getattr(self, "_flags", {}), name: value}

    reader_waiting = property(
        lambda self: self._get("reader"), lambda self, value: self._set("reader", value)
    )
    writer_waiting = property(
        lambda self: self._get("writer"), lambda self, value: self._set("writer", value)
    )
    attention = property(
        lambda self: self._get("attention"), lambda self, value: self._set("attention", value)
    )


@pytest.mark.parametrize("act", ["add", "finish"])
def test_a_reader_sees_what_came_just_before_it_began_to_wait(act: str) -> None:
    queue = Interrupted(Coding(), wake_reader=lambda: None, wake_writer=lambda: None)
    queue.between = {"add": lambda: queue.add(b"item"), "finish": queue.finish}[act]
    assert not queue.is_idle()


@pytest.mark.parametrize("act", ["take", "stop"])
def test_a_writer_sees_what_came_just_before_it_began_to_wait(act: str) -> None:
    queue = Interrupted(Coding(max_buffer=1), wake_reader=lambda: None, wake_writer=lambda: None)
    queue.add(b"item")
    queue.between = {"take": queue.take, "stop": queue.stop}[act]
    assert queue.has_room()


def test_a_writer_sees_a_stop_that_came_while_it_looked_around() -> None:
    queue = Interrupted(Coding(), wake_reader=lambda: None, wake_writer=lambda: None)
    queue.between = queue.stop
    queue.add(b"item")
    assert queue.attention
