"""The queue between two threads takes no lock: its invariants, under the fastest switches."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Iterator

import pytest

from streamkit.body.base import ITEM_WEIGHT, Coding, Pace
from streamkit.body.queue import Queue, ThreadSignal

# Seconds until a side that waits has missed its wake.
NEVER = 10


@pytest.fixture(autouse=True)
def threads_change_at_every_step() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Sides:
    """A queue, a producer and a reader, each on a thread."""

    def __init__(self, max_buffer: int) -> None:
        self.reader, self.writer = ThreadSignal(), ThreadSignal()
        self.queue = Queue(
            Coding(max_buffer=max_buffer), wake_reader=self.reader.set, wake_writer=self.writer.set
        )
        self.most = 0

    def goes_on(self) -> bool:
        while not self.queue.has_room():
            assert self.writer.wait(NEVER), "the writer was not woken"
        return not self.queue.stopped

    def produce(self, items: list[bytes]) -> None:
        error: BaseException | None = None
        try:
            iterator = iter(items)
            self.queue.fill(iterator, Pace(1.0), self.goes_on)
        except BaseException as exc:
            error = exc
        self.queue.finish(error)

    def read(self, chance: random.Random, stop_after: int) -> list[bytes]:
        taken: list[bytes] = []
        while not self.queue.drained:
            while self.queue.is_idle():
                assert self.reader.wait(NEVER), "the reader was not woken"
            items = self.queue.take(chance.choice([None, 1]))
            self.most = max(self.most, sum(map(len, items)) + ITEM_WEIGHT * len(items))
            taken += items
            if len(taken) >= stop_after:
                self.queue.stop()
        return taken


@pytest.mark.parametrize("max_buffer", [1, 60, 1000])
@pytest.mark.parametrize("stops", [False, True], ids=["to its end", "stopped"])
def test_all_items_arrive_in_order_and_neither_side_misses_its_wake(
    max_buffer: int, stops: bool
) -> None:
    chance = random.Random(max_buffer)
    items = [b"%d" % number for number in range(1500)]
    for _ in range(3):
        sides = Sides(max_buffer)
        stop_after = chance.randrange(700) if stops else len(items) + 1
        thread = threading.Thread(target=sides.produce, args=(items,))
        thread.start()
        taken = sides.read(chance, stop_after)
        thread.join(NEVER)
        assert sides.queue.error is None
        assert taken == items[: len(taken)]
        assert len(taken) >= min(stop_after, len(items))
        # One item may pass the limit.
        assert sides.most <= max_buffer + ITEM_WEIGHT + 4


@pytest.mark.parametrize("after", [0, 5000], ids=["shrinks", "grows"])
def test_an_item_counts_what_it_did_when_it_was_added(after: int) -> None:
    queue = Queue(Coding(max_buffer=3000), wake_reader=lambda: None, wake_writer=lambda: None)
    for _ in range(20):
        item = bytearray(1000)
        queue.add(item)
        item[:] = bytes(after)
        queue.take()
    # What is taken leaves nothing behind: there is room for three again, and no more.
    added = 0
    while queue.has_room():
        queue.add(bytes(1000))
        added += 1
    assert added == 3


def test_any_number_of_threads_may_set_a_signal() -> None:
    signal, errors = ThreadSignal(), []

    def set_it() -> None:
        try:
            for _ in range(2000):
                signal.set()
        except BaseException as exc:
            errors.append(exc)

    threads = [threading.Thread(target=set_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        signal.wait(0.01)
    assert not errors


def test_the_first_end_of_a_queue_stands() -> None:
    sides = Sides(max_buffer=10)
    error = ValueError("first")
    sides.queue.finish(error)
    sides.queue.finish()
    sides.queue.finish(KeyError("later"))
    assert sides.queue.error is error
