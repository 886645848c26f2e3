"""From a request and a representation to a plan: status, headers and what to send (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from streamkit.http.byteranges import byteranges, content_length, make_boundary, multipart_type
from streamkit.http.conditions import Decision, Validators, collect_fields, evaluate, range_applies
from streamkit.http.dates import format_http_date, parse_http_date
from streamkit.http.ranges import Resolution, Span, Verdict, content_range, parse_range

__all__ = ["Headers", "Plan", "Representation", "Rest", "Step", "plan"]

Headers = Iterable[tuple[bytes, bytes]]
"""Raw headers as ASGI has them: names and values, in order, names possibly repeated."""

_Pairs = tuple[tuple[bytes, bytes], ...]
_READING = frozenset(("GET", "HEAD"))
_IGNORED = Resolution(Verdict.IGNORED)
_BYTES = (b"accept-ranges", b"bytes")
_EMPTY = (b"content-length", b"0")
# Metadata of a representation that is not being sent (§8, §15.4.5). By name and not by prefix:
# Content-Location stays, and Content-Security-Policy is about something else.
_METADATA = frozenset(
    b"accept-ranges content-digest content-disposition content-encoding content-language "
    b"content-length content-md5 content-range content-type digest repr-digest".split()
)
_FRESHNESS = frozenset((b"cache-control", b"expires"))


class Rest(NamedTuple):
    """Bytes `start` up to wherever the content ends: its size is not known beforehand."""

    start: int = 0
    end: None = None


Step = bytes | Span | Rest
"""One step of sending a body: bytes as they stand, or a piece to read from the content."""


class Representation(Protocol):
    """What must be known of the content; streamkit's `SourceInfo` is one."""

    @property
    def size(self) -> int | None: ...
    @property
    def etag(self) -> str | None: ...
    @property
    def last_modified(self) -> datetime | None: ...
    @property
    def media_type(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Plan:
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
    off. `now` (aware) serves to judge dates. `boundary` is made when one is needed.

    Conditions and validators belong to a 200 to GET or HEAD, ranges to GET alone (§14.2). To any
    other method the content is the result of an action already taken: preconditions were for the
    application to check before acting, and a validator would be one of something else (§9.3.4).

    Raises `ValueError` for an etag that is no entity tag and for a naive `last_modified`.
    """
    subject = _Subject.of(info, headers, now, described=status == 200 and method in _READING)
    if status != 200 or method not in _READING:
        return _as_it_is(method, status, subject)
    fields = collect_fields(request_headers)
    decision = evaluate(method, fields, subject.validators, now=now)
    if decision is Decision.NOT_MODIFIED:
        return _without_content(304, subject)
    if decision is Decision.PRECONDITION_FAILED:
        return _without_content(412, subject, _EMPTY)
    return _selected(method, fields, subject, now, boundary)


@dataclass(frozen=True, slots=True)
class _Subject:
    """What the response is about: the representation, under the response's own headers."""

    size: int | None
    sliceable: int | None  # the size, if ranges may be taken of it
    validators: Validators
    content_type: bytes | None
    unsaid: _Pairs  # headers that describe it and are not among the response's own

    @classmethod
    def of(
        cls, info: Representation, headers: Headers, now: datetime, *, described: bool
    ) -> _Subject:
        own = {name.lower(): value for name, value in headers}
        validators = _validators(info, own, now) if described else Validators()
        facts = _facts(info, validators)
        accepted = own.get(b"accept-ranges", b"bytes").lower() == b"bytes"
        return cls(
            info.size,
            info.size if described and accepted else None,
            validators,
            own.get(b"content-type", facts.get(b"content-type")),
            tuple(pair for pair in facts.items() if pair[0] not in own),
        )


def _validators(info: Representation, own: dict[bytes, bytes], now: datetime) -> Validators:
    etag, modified = info.etag, info.last_modified
    if b"etag" in own:
        etag = own[b"etag"].decode("latin-1")
    if b"last-modified" in own:
        modified = parse_http_date(own[b"last-modified"].decode("latin-1"), now=now)
    return Validators.of(etag, modified)


def _facts(info: Representation, validators: Validators) -> dict[bytes, bytes]:
    facts: dict[bytes, bytes] = {}
    if info.media_type is not None:
        facts[b"content-type"] = info.media_type.encode("latin-1")
    if validators.etag is not None:
        facts[b"etag"] = str(validators.etag).encode("latin-1")
    if validators.last_modified is not None:
        facts[b"last-modified"] = format_http_date(validators.last_modified).encode("ascii")
    return facts


def _as_it_is(method: str, status: int, subject: _Subject) -> Plan:
    """A response that is no 200 to GET or HEAD: its content, if its status has any, and no more."""
    if status < 200 or status in (204, 304):
        return Plan(status, dropped=frozenset((b"content-length",)))  # §8.6
    if status == 205:
        return Plan(status, (_EMPTY,))  # §15.3.6
    return _whole(method, status, subject)


def _without_content(status: int, subject: _Subject, *added: tuple[bytes, bytes]) -> Plan:
    """A 304, 412 or 416: of what a 200 would say, only what §15.4.5 asks for."""
    # Beside an ETag a date adds nothing to what the client has.
    known = (b"last-modified",) if subject.validators.etag is not None else ()
    # A cache must not take what is said of the content for leave to keep the refusal of a range.
    dropped = _METADATA.union(known, _FRESHNESS if status == 416 else ())
    kept = (pair for pair in subject.unsaid if pair[0] not in dropped)
    return Plan(status, (*kept, *added), dropped=dropped)


def _selected(
    method: str, fields: Mapping[str, str], subject: _Subject, now: datetime, boundary: bytes | None
) -> Plan:
    size = subject.sliceable
    if size is None:
        return _whole(method, 200, subject)
    resolution = _resolve(fields, size, subject, now) if method == "GET" else _IGNORED
    if resolution.verdict is Verdict.SATISFIABLE:
        return _partial(resolution.spans, size, subject, boundary)
    if resolution.verdict is Verdict.IGNORED:
        return _whole(method, 200, subject, _BYTES)
    place = (b"content-range", content_range(None, size).encode("ascii"))
    return _without_content(416, subject, place, _BYTES, _EMPTY)


def _resolve(fields: Mapping[str, str], size: int, subject: _Subject, now: datetime) -> Resolution:
    ranges = parse_range(fields["range"]) if "range" in fields else None
    if ranges is None or not range_applies(fields, subject.validators, now=now):
        return _IGNORED
    return ranges.resolve(size)


def _whole(method: str, status: int, subject: _Subject, *added: tuple[bytes, bytes]) -> Plan:
    size = subject.size
    steps: tuple[Step, ...] = (Rest() if size is None else Span(0, size),)
    length = () if size is None else ((b"content-length", b"%d" % size),)
    empty = method == "HEAD" or size == 0
    dropped = frozenset((b"content-range",)) if status == 200 else frozenset[bytes]()
    return Plan(status, (*subject.unsaid, *added, *length), () if empty else steps, dropped)


def _partial(spans: tuple[Span, ...], size: int, subject: _Subject, boundary: bytes | None) -> Plan:
    """A 206: one span stands alone, several are the parts of a multipart body (§15.3.7)."""
    steps: tuple[bytes | Span, ...] = spans
    described = (b"content-range", content_range(spans[0], size).encode("ascii"))
    if len(spans) > 1:
        boundary = boundary or make_boundary()
        steps = tuple(byteranges(boundary, spans, size, subject.content_type))
        described = (b"content-type", multipart_type("byteranges", boundary))
    length = (b"content-length", b"%d" % content_length(steps))
    kept = (pair for pair in subject.unsaid if pair[0] != described[0])
    dropped = frozenset((b"content-range",))
    return Plan(206, (*kept, described, _BYTES, length), steps, dropped)
