"""How fast a response may be, and how slow its client."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit import ClientTooSlow, DeadlineExceeded, ItemTimeout, StreamKitError, ThreadTimeout
from streamkit.rates import MinRate, Pacer

rates = st.floats(1, 1e9)
seconds = st.floats(0, 1000)
sizes = st.integers(1, 1_000_000)
# A hair for rounding.
HAIR = 1e-6


@given(rates, st.floats(0.1, 60), st.lists(st.tuples(sizes, st.floats(0, 1), seconds)))
def test_a_client_that_takes_enough_is_never_too_slow(
    rate: float, grace: float, sends: list[tuple[int, float, float]]
) -> None:
    judge, now = MinRate(rate, grace), 0.0
    for size, share, idle in sends:
        now += idle
        deadline = judge.begin(now, size)
        now += share * size / rate
        assert now <= deadline + HAIR
        assert judge.end(now) or judge._left > -HAIR


@given(rates, st.floats(0.1, 60), st.lists(st.tuples(sizes, st.floats(1, 100)), min_size=1))
def test_a_client_that_takes_less_has_its_grace_and_no_more(
    rate: float, grace: float, sends: list[tuple[int, float]]
) -> None:
    judge, now, late = MinRate(rate, grace), 0.0, 0.0
    for size, slowness in sends:
        now += slowness * size / rate
        judge.begin(now - slowness * size / rate, size)
        late += (slowness - 1) * size / rate
        assert judge.end(now) == (late <= grace) or abs(late - grace) < HAIR * (1 + now)


@given(rates, st.floats(0.1, 60), sizes)
def test_a_client_that_takes_nothing_is_too_slow_after_grace_and_piece(
    rate: float, grace: float, size: int
) -> None:
    assert MinRate(rate, grace).begin(100.0, size) == pytest.approx(100 + grace + size / rate)


def test_time_with_nothing_to_send_is_free() -> None:
    judge = MinRate(1000, 5)
    for begin in (0.0, 1000.0, 100_000.0):
        judge.begin(begin, 100)
        assert judge.end(begin + 0.2)


def test_what_was_taken_long_ago_does_not_count() -> None:
    judge = MinRate(1000, grace=5)
    judge.begin(0.0, 10_000_000)
    assert judge.end(1.0)
    assert judge.begin(1.0, 1000) == pytest.approx(1 + 5 + 1)


def test_a_client_that_recovers_is_forgiven() -> None:
    judge = MinRate(1000, grace=5)
    for begin in (0.0, 20.0, 40.0, 60.0):
        judge.begin(begin, 1000)
        assert judge.end(begin + 5)
        judge.begin(begin + 5, 10_000)
        assert judge.end(begin + 6)


def test_a_client_of_a_byte_a_second_is_found_out_within_its_grace_and_a_piece() -> None:
    judge = MinRate(1000, grace=5)
    assert judge.piece == 5000
    assert judge.begin(0.0, judge.piece) == 10


def test_a_piece_is_worth_a_send() -> None:
    assert MinRate(10, grace=5).piece == 1024


def test_the_end_of_no_send_is_a_mistake() -> None:
    with pytest.raises(RuntimeError, match="call begin"):
        MinRate(1, 1).end(0.0)


@given(rates, st.lists(st.tuples(st.integers(1, 100_000), seconds), min_size=1))
def test_no_more_than_the_rate_is_sent_in_any_time(
    rate: float, sends: list[tuple[int, float]]
) -> None:
    pacer, now = Pacer(rate), 0.0
    sent: list[tuple[float, int]] = []
    for size, idle in sends:
        now += idle
        now += pacer.delay(now, size)
        sent.append((now, size))
    largest = max(size for _, size in sent)
    for first in range(len(sent)):
        amount = 0
        for at, size in sent[first:]:
            amount += size
            most = rate * (at - sent[first][0] + 0.1) + largest
            assert amount <= most * (1 + HAIR) + HAIR


@given(rates, st.lists(st.tuples(sizes, st.floats(0, 0.05)), min_size=2))
def test_sleeps_that_are_too_long_are_made_good_for(
    rate: float, sends: list[tuple[int, float]]
) -> None:
    pacer, now = Pacer(rate), 0.0
    for size, late in sends:
        delay = pacer.delay(now, size)
        now += delay + (late if delay else 0.0)
    total = sum(size for size, _ in sends[:-1])
    assert now <= total / rate * (1 + HAIR) + 0.05 + HAIR


def test_the_first_bytes_leave_at_once_and_the_others_evenly() -> None:
    pacer, now, delays = Pacer(1000), 50.0, []
    for _ in range(4):
        delays.append(pacer.delay(now, 100))
        now += delays[-1]
    assert delays == pytest.approx([0, 0.1, 0.1, 0.1])


def test_a_silence_is_no_credit() -> None:
    pacer = Pacer(1000)
    pacer.delay(0.0, 100)
    assert [pacer.delay(1000.0, 100) for _ in range(4)] == pytest.approx([0, 0, 0.1, 0.2])


@pytest.mark.parametrize(("rate", "piece"), [(100_000, 10_000), (5, 1), (1e9, 100_000_000)])
def test_a_piece_is_a_tenth_of_a_second(rate: float, piece: int) -> None:
    assert Pacer(rate).piece == piece


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_rate_that_makes_no_sense_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="max_rate must be a number of bytes a second above 0"):
        Pacer(rate)
    with pytest.raises(ValueError, match="min_rate must be a number of bytes a second above 0"):
        MinRate(rate, 1)


@pytest.mark.parametrize("rate", ["1000", None, True])
def test_a_rate_that_is_no_number_is_refused(rate: Any) -> None:
    with pytest.raises(TypeError, match="must be a number of bytes a second"):
        Pacer(rate)


@pytest.mark.parametrize("grace", [0, -1, math.nan, math.inf])
def test_a_grace_that_makes_no_sense_is_refused(grace: float) -> None:
    with pytest.raises(ValueError, match="grace must be more than 0 seconds"):
        MinRate(1000, grace)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (DeadlineExceeded(60), "the response was not at its end after deadline=60 seconds"),
        (ItemTimeout(5), "the content gave nothing for item_timeout=5 seconds"),
        (ThreadTimeout(2), "no thread was free for thread_timeout=2 seconds"),
        (ClientTooSlow(1000), "the client took less than min_rate=1000 bytes a second"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_errors_can_be_copied_and_say_what_was_exceeded(
    error: StreamKitError, text: str
) -> None:
    assert isinstance(error, TimeoutError)
    for other in (error, copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(other), str(other), vars(other)) == (type(error), text, vars(error))
