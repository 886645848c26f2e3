from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from streamkit.buffer import Buffer, ThreadSignal


class Woken:
    def __init__(self) -> None:
        self.reader = 0
        self.writer = 0

    def wake_reader(self) -> None:
        self.reader += 1

    def wake_writer(self) -> None:
        self.writer += 1


def make(limit: int = 10) -> tuple[Buffer[bytes], Callable[[Any], bool], Woken]:
    woken = Woken()
    buffer = Buffer(limit, len, bytes, wake_reader=woken.wake_reader, wake_writer=woken.wake_writer)
    return buffer, lambda item: buffer.fill(iter((item,)), lambda: False), woken


def test_items_come_out_as_they_went_in() -> None:
    buffer, put, _ = make()
    put(b"a")
    put(b"b")
    buffer.add(b"tail")
    assert len(buffer) == 3
    assert buffer.take() == [b"a", b"b", b"tail"]
    assert buffer.take() == []


def test_some_items_can_be_taken_and_the_others_stay() -> None:
    buffer, put, _ = make()
    for item in (b"a", b"b", b"c"):
        put(item)
    assert buffer.take(1) == [b"a"]
    assert buffer.take() == [b"b", b"c"]


def test_the_writer_looks_up_only_when_there_is_reason_to() -> None:
    buffer, put, _ = make(limit=10)
    assert put(b"1234")
    assert not put(b"5678")
    assert not buffer.has_room()


def test_empty_items_take_room_as_well() -> None:
    buffer, put, _ = make(limit=3)
    assert [put(b"") for _ in range(3)] == [True, True, False]
    assert not buffer.has_room()


def test_one_item_may_pass_the_limit() -> None:
    buffer, put, _ = make(limit=1)
    assert buffer.has_room()
    put(b"x" * 1000)
    assert not buffer.has_room()


def test_a_writer_that_waits_is_woken_once_by_a_take() -> None:
    buffer, put, woken = make(limit=1)
    put(b"x")
    buffer.take()
    assert woken.writer == 0
    put(b"x")
    assert not buffer.has_room()
    buffer.take()
    buffer.take()
    assert woken.writer == 1
    assert buffer.has_room()


def test_a_writer_is_not_woken_while_it_has_room() -> None:
    buffer, put, woken = make()
    put(b"x")
    assert buffer.has_room()
    buffer.take()
    assert woken.writer == 0


def test_a_reader_that_is_idle_is_woken_by_the_next_item() -> None:
    buffer, put, woken = make()
    assert buffer.is_idle()
    put(b"a")
    assert woken.reader == 1
    put(b"b")
    assert woken.reader == 1
    assert not buffer.is_idle()


def test_a_reader_that_is_idle_is_woken_by_the_end() -> None:
    buffer, _, woken = make()
    assert buffer.is_idle()
    buffer.finish()
    assert woken.reader == 1
    assert buffer.finished
    assert not buffer.is_idle()


def test_a_reader_that_rests_is_woken_when_the_buffer_is_full_and_not_before() -> None:
    buffer, put, woken = make(limit=4)
    assert buffer.rest()
    put(b"a")
    assert woken.reader == 0
    put(b"b")
    assert woken.reader == 1
    assert not buffer.rest()


def test_a_reader_that_rests_is_woken_by_the_end() -> None:
    buffer, _, woken = make()
    assert buffer.rest()
    buffer.finish()
    assert woken.reader == 1
    assert not buffer.rest()


def test_a_take_ends_the_rest() -> None:
    buffer, put, woken = make(limit=2)
    assert buffer.rest()
    buffer.take()
    put(b"a")
    assert woken.reader == 0


def test_filling_goes_on_where_it_looked_up() -> None:
    buffer, _, _ = make(limit=4)
    items = iter([b"ab", b"cd", b"ef"])
    assert not buffer.fill(items, buffer.has_room)
    assert buffer.take() == [b"ab", b"cd"]
    assert buffer.fill(items, buffer.has_room)
    assert buffer.take() == [b"ef"]


def test_items_of_exactly_the_quick_type_take_the_quick_way() -> None:
    class Name(str):
        pass

    buffer = Buffer(
        100, len, lambda item: b"slow", (str, str.encode), wake_reader=print, wake_writer=print
    )
    buffer.fill(iter(["quick", Name("other"), 3]), lambda: True)
    assert buffer.take() == [b"quick", b"slow", b"slow"]


def test_after_a_stop_every_put_says_so_and_no_writer_waits() -> None:
    buffer, put, woken = make(limit=1)
    put(b"x")
    assert not buffer.has_room()
    buffer.stop()
    assert woken.writer == 1
    assert buffer.stopped
    assert buffer.has_room()
    buffer.take()
    assert not put(b"x")


def test_the_error_of_a_content_is_kept() -> None:
    buffer, _, _ = make()
    error = ValueError()
    buffer.finish(error)
    assert buffer.error is error


@given(
    st.lists(st.one_of(st.binary(max_size=5), st.integers(1, 3), st.none()), max_size=50),
    st.integers(1, 20),
)
def test_the_size_is_right_whatever_is_put_and_taken(steps: list[Any], limit: int) -> None:
    buffer, put, _ = make(limit)
    model: list[bytes] = []
    for step in steps:
        if isinstance(step, bytes):
            put(step)
            model.append(step)
        else:
            taken = buffer.take(step)
            assert taken == model[:step]
            del model[: len(taken)]
        full = sum(map(len, model)) + len(model) >= limit
        assert buffer.has_room() is not full


@pytest.mark.parametrize("limit", [1, 7, 5000])
def test_no_wake_up_is_lost_between_two_threads(limit: int) -> None:
    reader, writer = ThreadSignal(), ThreadSignal()
    buffer = Buffer(limit, len, bytes, wake_reader=reader.set, wake_writer=writer.set)
    items = [b"x" * (n % 5) + b"%d" % n for n in range(5000)]

    def produce() -> None:
        def wait_for_room() -> bool:
            while not buffer.has_room():
                assert writer.wait(5)
            return True

        assert buffer.fill(iter(items), wait_for_room)
        buffer.finish()

    thread = threading.Thread(target=produce)
    thread.start()
    received: list[bytes] = []
    finished = False
    while not finished:
        while buffer.is_idle():
            assert reader.wait(5)
        finished = buffer.finished
        received += buffer.take()
    thread.join()
    assert received == items


def test_an_item_that_comes_as_the_reader_begins_to_wait_is_not_missed() -> None:
    reader, taken = ThreadSignal(), ThreadSignal()
    buffer = Buffer(1 << 20, len, bytes, wake_reader=reader.set, wake_writer=print)
    rounds = 3000

    def produce() -> None:
        for _ in range(rounds):
            buffer.fill(iter((b"x",)), bool)
            # Nothing follows that could wake the reader in its stead.
            assert taken.wait(5)

    thread = threading.Thread(target=produce)
    thread.start()
    for _ in range(rounds):
        while buffer.is_idle():
            assert reader.wait(5)
        assert buffer.take() == [b"x"]
        taken.set()
    thread.join()


def test_a_thread_signal_that_was_set_twice_wakes_once() -> None:
    signal = ThreadSignal()
    signal.set()
    signal.set_threadsafe()
    assert signal.wait(0)
    assert not signal.wait(0)


def test_a_thread_signal_wakes_a_waiting_thread() -> None:
    signal = ThreadSignal()
    timer = threading.Timer(0.01, signal.set)
    timer.start()
    began = time.monotonic()
    assert signal.wait(10)
    assert time.monotonic() - began < 10
    timer.join()
