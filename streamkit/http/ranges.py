"""The `Range` request header: parsed to a type, resolved against a size (RFC 9110 §14)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple

__all__ = [
    "MAX_MEMBERS",
    "IntRange",
    "RangeSet",
    "Resolution",
    "Span",
    "SuffixRange",
    "Verdict",
    "content_range",
    "parse_range",
    "single_span",
]

MAX_MEMBERS = 100
"""A set with more members than this is taken for an attack and ignored (§14.2, §17.15)."""

_OWS = " \t"
# Short enough for int(), whatever its limit is.
_SINGLE = re.compile("bytes=([0-9]{1,18})-([0-9]{0,18})")
_MEMBER = re.compile("([0-9]*)-([0-9]*)")
# int() refuses long digit strings from a limit that may be set as low as 640 digits
# (sys.set_int_max_str_digits), and no representation is anywhere near that long.
_MAX_DIGITS = 600
_ENDLESS = 10**_MAX_DIGITS


class Span(NamedTuple):
    """Bytes `start` up to, but not including, `end`."""

    start: int
    end: int


class IntRange(NamedTuple):
    """`first-last` or `first-`, inclusive as on the wire (§14.1.1)."""

    first: int
    last: int | None

    def locate(self, size: int) -> Span | None:
        if self.first >= size:
            return None
        return Span(self.first, size if self.last is None else min(self.last + 1, size))


class SuffixRange(NamedTuple):
    """`-length`: the last bytes, or all of them if there are fewer (§14.1.2)."""

    length: int

    def locate(self, size: int) -> Span | None:
        return Span(max(size - self.length, 0), size) if self.length else None


class Verdict(Enum):
    """What a set of ranges comes to for one representation."""

    SATISFIABLE = "satisfiable"
    UNSATISFIABLE = "unsatisfiable"
    IGNORED = "ignored"


class Resolution(NamedTuple):
    """A verdict, and the spans to send when it is SATISFIABLE."""

    verdict: Verdict
    spans: tuple[Span, ...] = ()


class RangeSet(NamedTuple):
    """A well-formed `Range: bytes=...`: its members in the order they were asked for."""

    members: tuple[IntRange | SuffixRange, ...]

    def resolve(self, size: int) -> Resolution:
        """Hold the set against a representation of `size` bytes.

        * Members that cannot be satisfied are left out; with none left it is UNSATISFIABLE.
        * Members that are together longer than the representation are IGNORED (§14.2 allows it).
        * Spans that overlap or touch, directly or through others, become one, which stands where
          the first of them was asked for. Apart from that the order is the client's (§15.3.7.2).
        * A non-zero suffix of an empty representation is satisfiable (§14.1.2), but no
          Content-Range can say so (§14.4): IGNORED, the whole is what was asked for.
        """
        found = [span for member in self.members if (span := member.locate(size)) is not None]
        if not found:
            return Resolution(Verdict.UNSATISFIABLE)
        if size == 0 or sum(span.end - span.start for span in found) > size:
            return Resolution(Verdict.IGNORED)
        return Resolution(Verdict.SATISFIABLE, _coalesce(found))


def parse_range(value: str) -> RangeSet | None:
    """Parse the value of a `Range` header; None means: go on as if there were none (§14.2).

    That is so for a unit other than `bytes` (in any case), for a syntax error anywhere in the
    set, and for more than `MAX_MEMBERS` members. Whitespace is allowed around commas only, and
    empty members are skipped (§5.6.1).
    """
    unit, equals, text = value.strip(_OWS).partition("=")
    pieces = text.split(",")
    if not equals or unit.lower() != "bytes" or _starts_blank(pieces[0]):
        return None
    return _range_set(piece.strip(_OWS) for piece in pieces)


def single_span(value: str, size: int) -> Span | None:
    """Resolve a `Range` of one `first-last` or `first-` in the plainest form, if it can be met.

    This is what players and downloaders send. None says nothing: ask `parse_range`.
    """
    found = _SINGLE.fullmatch(value)
    if found is None:
        return None
    first, last = found.groups()
    start, end = int(first), size
    if last and (stop := int(last) + 1) < size:
        end = stop
    return Span(start, end) if start < end else None


def content_range(span: Span | None, size: int) -> str:
    """Write a `Content-Range` value; a span of None is that of a 416 (§14.4)."""
    return f"bytes */{size}" if span is None else f"bytes {span.start}-{span.end - 1}/{size}"


def _starts_blank(piece: str) -> bool:
    """Whether whitespace stands between `=` and the first member, where no comma excuses it."""
    return piece[:1] in (" ", "\t") and bool(piece.strip(_OWS))


def _range_set(pieces: Iterable[str]) -> RangeSet | None:
    members: list[IntRange | SuffixRange] = []
    for piece in filter(None, pieces):
        member = _parse_member(piece)
        if member is None or len(members) == MAX_MEMBERS:
            return None
        members.append(member)
    return RangeSet(tuple(members)) if members else None


def _parse_member(text: str) -> IntRange | SuffixRange | None:
    found = _MEMBER.fullmatch(text)
    if found is None or text == "-":
        return None
    first, last = (digits.lstrip("0") or digits[:1] for digits in found.groups())
    if not first:
        return SuffixRange(_number(last))
    if not last:
        return IntRange(_number(first), None)
    # By length, then by digit: numbers too long for int() still have an order.
    if (len(last), last) < (len(first), first):
        return None
    return IntRange(_number(first), _number(last))


def _number(digits: str) -> int:
    return int(digits) if len(digits) <= _MAX_DIGITS else _ENDLESS


def _coalesce(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Join what overlaps or touches; a joined span takes the place of its earliest member."""
    joined: list[tuple[int, Span]] = []
    for place, span in sorted(enumerate(spans), key=lambda item: item[1]):
        if joined and span.start <= joined[-1][1].end:
            earlier, before = joined[-1]
            joined[-1] = (min(earlier, place), Span(before.start, max(before.end, span.end)))
        else:
            joined.append((place, span))
    return tuple(span for _, span in sorted(joined))
