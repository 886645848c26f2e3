"""From a request and a representation to a plan: status, headers and what to send (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from streamkit.http.byteranges import byteranges, content_length, make_boundary, multipart_type
from streamkit.http.conditions import (
    PRECONDITIONS,
    Decision,
    collect_fields,
    evaluate,
    range_applies,
)
from streamkit.http.ranges import Span, Verdict, content_range, parse_range, single_span
from streamkit.http.subject import Representation, Subject, described, undescribed

__all__ = ["Headers", "Plan", "Representation", "Rest", "Step", "plan"]

Headers = Iterable[tuple[bytes, bytes]]
"""Raw headers as ASGI has them: names and values, in order, names possibly repeated."""

_Pairs = tuple[tuple[bytes, bytes], ...]
_READING = frozenset(("GET", "HEAD"))
_BYTES = (b"accept-ranges", b"bytes")
_EMPTY = (b"content-length", b"0")
# Metadata of a representation that is not being sent (§8, §15.4.5). By name and not by prefix:
# Content-Location stays, and Content-Security-Policy is about something else.
_METADATA = frozenset(
    b"accept-ranges content-digest content-disposition content-encoding content-language "
    b"content-length content-md5 content-range content-type digest repr-digest".split()
)
_FRESHNESS = frozenset((b"cache-control", b"expires"))
_CONTENT_RANGE = frozenset((b"content-range",))


class Rest(NamedTuple):
    """Bytes `start` up to wherever the content ends: its size is not known beforehand."""

    start: int = 0
    end: None = None


Step = bytes | Span | Rest
"""One step of sending a body: bytes as they stand, or a piece to read from the content."""


class Plan(NamedTuple):
    """A decision, ready to be carried out: send `steps` one after the other.

    `headers` are to be set and `dropped` names (lower-case) to be left out of the headers that
    the response has of its own; `merge` does both.
    """

    status: int
    headers: _Pairs = ()
    steps: tuple[Step, ...] = ()
    dropped: frozenset[bytes] = frozenset()

    @property
    def body_length(self) -> int | None:
        """Bytes the steps come to (0 for HEAD, 304, 412, 416); None if the size is unknown."""
        known = [step for step in self.steps if not isinstance(step, Rest)]
        return content_length(known) if len(known) == len(self.steps) else None

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans among the steps."""
        return tuple(step for step in self.steps if isinstance(step, Span))

    def merge(self, own: Headers) -> list[tuple[bytes, bytes]]:
        """Give the headers to send: what may stay of the response's `own`, then the plan's."""
        gone = self.dropped.union(name for name, _ in self.headers)
        return [*(pair for pair in own if pair[0].lower() not in gone), *self.headers]


def plan(
    method: str,
    request_headers: Headers,
    info: Representation,
    *,
    now: datetime,
    status: int = 200,
    headers: Headers = (),
    boundary: bytes | None = None,
) -> Plan:
    """Decide how to answer a request with a representation, without touching its bytes.

    `status` and `headers` are what the response has of its own; an `ETag`, `Last-Modified` or
    `Content-Type` among them goes before that of `info`, and `Accept-Ranges: none` turns ranges
    off. Several ranges of what has a `Content-Encoding` are answered with the whole. `now` (aware)
    serves to judge dates. `boundary` is made when one is needed.

    Conditions and validators belong to a 200 to GET or HEAD, ranges to GET alone (§14.2). To any
    other method the content is the result of an action already taken: preconditions were for the
    application to check before acting, and a validator would be one of something else (§9.3.4).

    Raises `ValueError` for an etag that is no entity tag and for a naive `last_modified`.
    """
    own = {name.lower(): value for name, value in headers}
    if status != 200 or method not in _READING:
        return _as_it_is(method, status, undescribed(info, own))
    subject = described(info, own, now)
    fields = collect_fields(request_headers)
    if fields is None:
        return _without_content(431, subject, _EMPTY)
    if not fields:
        return _whole(method, 200, subject)
    if not PRECONDITIONS.isdisjoint(fields):
        decision = evaluate(method, fields, subject.validators, now=now)
        if decision is Decision.NOT_MODIFIED:
            return _without_content(304, subject)
        if decision is Decision.PRECONDITION_FAILED:
            return _without_content(412, subject, _EMPTY)
    return _selected(method, fields, subject, now, boundary)


def _as_it_is(method: str, status: int, subject: Subject) -> Plan:
    """A response that is no 200 to GET or HEAD: its content, if its status has any, and no more."""
    if status < 200 or status in (204, 304):
        return Plan(status, dropped=frozenset((b"content-length",)))  # §8.6
    if status == 205:
        return Plan(status, (_EMPTY,))  # §15.3.6
    return _whole(method, status, subject)


def _without_content(status: int, subject: Subject, *last: tuple[bytes, bytes]) -> Plan:
    """A 304, 412, 416 or 431: of what a 200 would say, only what §15.4.5 asks for."""
    # Beside an ETag a date adds nothing to what the client has.
    known = (b"last-modified",) if subject.etag is not None else ()
    # Drop freshness headers, so that caches don't store the refusal.
    dropped = _METADATA.union(known, subject.dropped, _FRESHNESS if status in (416, 431) else ())
    kept = (pair for pair in subject.added if pair[0] not in dropped)
    return Plan(status, (*kept, *last), dropped=dropped)


def _selected(
    method: str, fields: Mapping[str, str], subject: Subject, now: datetime, boundary: bytes | None
) -> Plan:
    size = subject.size
    if size is None or not subject.sliceable or method != "GET" or "range" not in fields:
        return _whole(method, 200, subject)
    if "if-range" in fields and not range_applies(fields, subject.validators, now=now):
        return _whole(method, 200, subject)
    if (span := single_span(fields["range"], size)) is not None:
        return _partial((span,), size, subject, boundary)
    ranges = parse_range(fields["range"])
    if ranges is None:
        return _whole(method, 200, subject)
    resolution = ranges.resolve(size)
    if subject.coded and len(resolution.spans) > 1:
        # The coding is that of the content, and a client would undo it on the parts' framing. All
        # of it may be sent instead (§14.2).
        return _whole(method, 200, subject)
    if resolution.verdict is Verdict.SATISFIABLE:
        return _partial(resolution.spans, size, subject, boundary)
    if resolution.verdict is Verdict.IGNORED:
        return _whole(method, 200, subject)
    place = (b"content-range", content_range(None, size).encode("ascii"))
    return _without_content(416, subject, place, _BYTES, _EMPTY)


def _whole(method: str, status: int, subject: Subject) -> Plan:
    size, headers = subject.size, subject.added
    if subject.sliceable:
        headers.append(_BYTES)
    if size is not None:
        headers.append((b"content-length", b"%d" % size))
    step = Rest() if size is None else Span(0, size)
    empty = method == "HEAD" or size == 0
    dropped = subject.dropped | _CONTENT_RANGE if status == 200 else subject.dropped
    return Plan(status, tuple(headers), () if empty else (step,), dropped)


def _partial(spans: tuple[Span, ...], size: int, subject: Subject, boundary: bytes | None) -> Plan:
    """A 206: one span stands alone, several are the parts of a multipart body (§15.3.7)."""
    if len(spans) == 1:
        start, end = spans[0]
        headers = subject.added
        headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, size)))
        headers += _BYTES, (b"content-length", b"%d" % (end - start))
        return Plan(206, tuple(headers), spans, subject.dropped | _CONTENT_RANGE)
    boundary = boundary or make_boundary()
    steps = tuple(byteranges(boundary, spans, size, subject.content_type))
    headers = [pair for pair in subject.added if pair[0] != b"content-type"]
    headers.append((b"content-type", multipart_type("byteranges", boundary)))
    headers += _BYTES, (b"content-length", b"%d" % content_length(steps))
    return Plan(206, tuple(headers), steps, subject.dropped | _CONTENT_RANGE)
