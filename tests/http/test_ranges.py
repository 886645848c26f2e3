from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.ranges import (
    MAX_MEMBERS,
    IntRange,
    RangeSet,
    Span,
    SuffixRange,
    Verdict,
    content_range,
    parse_range,
)

Pairs = list[tuple[int, int]]
HUGE = "9" * 5000


@pytest.mark.parametrize(
    ("value", "members"),
    [
        pytest.param("bytes=0-99", [IntRange(0, 99)], id="first and last"),
        pytest.param("bytes=7-", [IntRange(7, None)], id="first alone"),
        pytest.param("bytes=-5", [SuffixRange(5)], id="suffix"),
        pytest.param("bytes=-0", [SuffixRange(0)], id="a suffix of nothing is well-formed"),
        pytest.param("bytes=0-0", [IntRange(0, 0)], id="one byte"),
        pytest.param("bytes=007-0010", [IntRange(7, 10)], id="leading zeros"),
        pytest.param("BYTES=1-2", [IntRange(1, 2)], id="the unit in upper case"),
        pytest.param(" \tbytes=1-2\t ", [IntRange(1, 2)], id="whitespace around the value"),
        pytest.param("bytes=1-2,5-", [IntRange(1, 2), IntRange(5, None)], id="two members"),
        pytest.param("bytes=1-2 \t,\t -5", [IntRange(1, 2), SuffixRange(5)], id="OWS at commas"),
        pytest.param("bytes=,1-2,,5-6,", [IntRange(1, 2), IntRange(5, 6)], id="empty members"),
        pytest.param("bytes= ,1-2", [IntRange(1, 2)], id="whitespace in an empty member"),
        pytest.param("bytes=5-6,1-2", [IntRange(5, 6), IntRange(1, 2)], id="order is kept"),
        pytest.param(f"bytes={2**64}-{2**65}", [IntRange(2**64, 2**65)], id="beyond 64 bits"),
    ],
)
def test_a_well_formed_set_is_parsed(value: str, members: list[IntRange | SuffixRange]) -> None:
    assert parse_range(value) == RangeSet(tuple(members))


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("bytes", id="no equals sign"),
        pytest.param("bytes=", id="no member"),
        pytest.param("bytes=, ,", id="only empty members"),
        pytest.param("bytes=-", id="neither first nor last"),
        pytest.param("bytes=5", id="no hyphen"),
        pytest.param("bytes=5-4", id="last before first"),
        pytest.param("bytes=0-1,5-4", id="one member that is invalid spoils the set"),
        pytest.param("bytes=0-1,x", id="one member that is garbage spoils the set"),
        pytest.param("bytes=0-1;2-3", id="a semicolon for a comma"),
        pytest.param("bytes=0-1-2", id="two hyphens"),
        pytest.param("bytes=--5", id="a negative suffix"),
        pytest.param("bytes=+1-2", id="a plus sign"),
        pytest.param("bytes=1_0-20", id="an underscore"),
        pytest.param("bytes=0x1-0x2", id="hexadecimal"),
        pytest.param("bytes=1.0-2", id="a fraction"),
        pytest.param("bytes=\u0661-\u0662", id="digits that are not ASCII"),
        pytest.param("bytes=\u00b2-", id="a superscript digit"),
        pytest.param("bytes=1 -2", id="whitespace within a member"),
        pytest.param("bytes=1- 2", id="whitespace after the hyphen"),
        pytest.param("bytes= 1-2", id="whitespace after the equals sign"),
        pytest.param("bytes =1-2", id="whitespace before the equals sign"),
        pytest.param("bytes=1-2,\u00a03-4", id="a no-break space is not whitespace"),
        pytest.param("bytes=1-2\n", id="a newline"),
        pytest.param("items=0-5", id="an unknown unit"),
        pytest.param("byte=0-5", id="almost the unit"),
        pytest.param("=0-5", id="no unit"),
        pytest.param("bytes=0-1, bytes=3-4", id="the header sent twice"),
        pytest.param(f"bytes=9{HUGE}-{HUGE}", id="last before first in thousands of digits"),
    ],
)
def test_anything_else_is_as_good_as_no_range(value: str) -> None:
    assert parse_range(value) is None


@pytest.mark.parametrize(
    ("value", "size", "spans"),
    [
        pytest.param("bytes=0-4", 10, [(0, 5)], id="the beginning"),
        pytest.param("bytes=2-", 10, [(2, 10)], id="all from an offset"),
        pytest.param("bytes=0-", 10, [(0, 10)], id="all of it"),
        pytest.param("bytes=9-9", 10, [(9, 10)], id="the last byte"),
        pytest.param("bytes=-3", 10, [(7, 10)], id="the end"),
        pytest.param("bytes=-10", 10, [(0, 10)], id="a suffix as long as the whole"),
        pytest.param("bytes=-11", 10, [(0, 10)], id="a suffix that is longer than the whole"),
        pytest.param("bytes=5-500", 10, [(5, 10)], id="a last beyond the end is cut"),
        pytest.param(f"bytes=5-{HUGE}", 10, [(5, 10)], id="a last of thousands of digits"),
        pytest.param(f"bytes=-{HUGE}", 10, [(0, 10)], id="a suffix of thousands of digits"),
        pytest.param(f"bytes={'0' * 5000}7-", 10, [(7, 10)], id="thousands of zeros before it"),
        pytest.param("bytes=0-1,20-30", 10, [(0, 2)], id="what is not there is left out"),
        pytest.param("bytes=20-30,-2", 10, [(8, 10)], id="wherever it stands in the set"),
        pytest.param("bytes=-0,3-4", 10, [(3, 5)], id="an empty suffix is left out"),
        pytest.param(f"bytes={HUGE}-,1-2", 10, [(1, 3)], id="far beyond the end is left out"),
        pytest.param("bytes=0-1,5-6", 10, [(0, 2), (5, 7)], id="two spans"),
        pytest.param("bytes=5-6,0-1", 10, [(5, 7), (0, 2)], id="two spans, the later first"),
        pytest.param("bytes=0-3,2-5", 10, [(0, 6)], id="an overlap is joined"),
        pytest.param("bytes=0-3,4-5", 10, [(0, 6)], id="neighbours are joined"),
        pytest.param("bytes=0-3,5-6", 10, [(0, 4), (5, 7)], id="a gap of one byte is kept"),
        pytest.param("bytes=4-5,0-3", 10, [(0, 6)], id="neighbours in reverse are joined"),
        pytest.param("bytes=0-5,2-3", 10, [(0, 6)], id="one within another disappears"),
        pytest.param("bytes=1-1,1-1", 10, [(1, 2)], id="the same twice is sent once"),
        pytest.param("bytes=0-1,4-5,2-3", 10, [(0, 6)], id="joined through a third"),
        pytest.param(
            "bytes=6-7,0-1,2-3", 10, [(6, 8), (0, 4)], id="joined at the place of the earlier"
        ),
        pytest.param(
            "bytes=2-3,9-9,0-1", 10, [(0, 4), (9, 10)], id="joined at the earlier, though later"
        ),
        pytest.param("bytes=0-4,5-9", 10, [(0, 10)], id="together exactly the whole"),
        pytest.param(f"bytes={2**64}-", 2**64 + 1, [(2**64, 2**64 + 1)], id="beyond 64 bits"),
    ],
)
def test_a_set_is_resolved_to_spans(value: str, size: int, spans: Pairs) -> None:
    ranges = parse_range(value)
    assert ranges is not None
    resolution = ranges.resolve(size)
    assert (resolution.verdict, list(resolution.spans)) == (Verdict.SATISFIABLE, spans)


@pytest.mark.parametrize(
    ("value", "size", "verdict"),
    [
        pytest.param("bytes=10-", 10, Verdict.UNSATISFIABLE, id="just past the end"),
        pytest.param("bytes=10-10,99-", 10, Verdict.UNSATISFIABLE, id="all past the end"),
        pytest.param("bytes=-0", 10, Verdict.UNSATISFIABLE, id="an empty suffix"),
        pytest.param(f"bytes={HUGE}-{HUGE}", 10, Verdict.UNSATISFIABLE, id="thousands of digits"),
        pytest.param("bytes=0-", 0, Verdict.UNSATISFIABLE, id="the first byte of nothing"),
        pytest.param("bytes=-0", 0, Verdict.UNSATISFIABLE, id="nothing of nothing"),
        pytest.param("bytes=-5", 0, Verdict.IGNORED, id="a suffix of nothing is all of it"),
        pytest.param("bytes=0-,0-", 10, Verdict.IGNORED, id="the whole twice"),
        pytest.param("bytes=0-5,3-7", 10, Verdict.IGNORED, id="together one more than the whole"),
        pytest.param("bytes=0-0,0-0", 1, Verdict.IGNORED, id="one byte of one byte, twice"),
    ],
)
def test_a_set_without_spans_says_why(value: str, size: int, verdict: Verdict) -> None:
    ranges = parse_range(value)
    assert ranges is not None
    resolution = ranges.resolve(size)
    assert (resolution.verdict, resolution.spans) == (verdict, ())


def test_as_many_members_as_allowed_are_parsed() -> None:
    ranges = parse_range("bytes=" + ",".join(["0-0"] * MAX_MEMBERS))
    assert ranges is not None
    assert len(ranges.members) == MAX_MEMBERS == 100


def test_one_member_more_is_as_good_as_no_range() -> None:
    assert parse_range("bytes=" + ",".join(["0-0"] * (MAX_MEMBERS + 1))) is None


def test_empty_members_do_not_count() -> None:
    assert parse_range("bytes=" + "," * 1000 + "0-0") == RangeSet((IntRange(0, 0),))


def test_the_limit_on_digits_of_int_does_not_matter() -> None:
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        assert parse_range(f"bytes=0-{'9' * 641}") is not None
    finally:
        sys.set_int_max_str_digits(before)


def test_content_range_is_inclusive_on_the_wire() -> None:
    assert content_range(Span(0, 5), 10) == "bytes 0-4/10"
    assert content_range(None, 10) == "bytes */10"


members = st.one_of(
    st.tuples(st.integers(0, 60), st.integers(0, 60)).map(
        lambda pair: (min(pair), max(pair), f"{min(pair)}-{max(pair)}")
    ),
    st.integers(0, 60).map(lambda first: (first, None, f"{first}-")),
    st.integers(0, 60).map(lambda length: (None, length, f"-{length}")),
)


def asked_for(first: int | None, last: int | None, size: int) -> set[int]:
    everything = range(size)
    if first is None:
        return set(everything[max(size - (last or 0), 0) :])
    return {at for at in everything if first <= at and (last is None or at <= last)}


@given(st.integers(0, 50), st.lists(members, min_size=1, max_size=8))
def test_the_spans_are_the_bytes_that_were_asked_for(
    size: int, asked: list[tuple[int | None, int | None, str]]
) -> None:
    ranges = parse_range("bytes=" + ",".join(text for _, _, text in asked))
    assert ranges is not None
    resolution = ranges.resolve(size)
    sets = [asked_for(first, last, size) for first, last, _ in asked]
    wanted = set[int]().union(*sets)
    if resolution.verdict is Verdict.SATISFIABLE:
        sent = [at for span in resolution.spans for at in range(*span)]
        assert set(sent) == wanted
        assert len(sent) == len(wanted), "no byte is sent twice"
    elif resolution.verdict is Verdict.UNSATISFIABLE:
        assert not wanted
    else:
        assert size == 0 or sum(map(len, sets)) > size


@given(st.integers(1, 50), st.lists(members, min_size=1, max_size=8))
def test_spans_are_apart_and_in_the_order_of_their_first_member(
    size: int, asked: list[tuple[int | None, int | None, str]]
) -> None:
    ranges = parse_range("bytes=" + ",".join(text for _, _, text in asked))
    assert ranges is not None
    spans = ranges.resolve(size).spans
    assert all(0 <= span.start < span.end <= size for span in spans)
    ascending = sorted(spans)
    assert all(ascending[i].end < ascending[i + 1].start for i in range(len(spans) - 1))
    starts = [min(wanted) for one in asked if (wanted := asked_for(one[0], one[1], size))]
    order = [next(s for s in spans if s.start <= at < s.end) for at in starts] if spans else []
    assert list(dict.fromkeys(order)) == list(spans)


@given(st.text() | st.text("0123456789-, =bytes").map("bytes=".__add__), st.integers(0, 2**70))
def test_no_text_makes_it_raise(value: str, size: int) -> None:
    ranges = parse_range(value)
    if ranges is not None:
        ranges.resolve(size)
