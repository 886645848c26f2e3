"""From a request and a representation to a plan: status, headers and what to send (RFC 9110)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from streamkit.http.byteranges import (
    Rest,
    Step,
    body_length,
    byteranges,
    make_boundary,
    multipart_type,
)
from streamkit.http.conditions import (
    Decision,
    Validators,
    collect_fields,
    evaluate,
    range_applies,
)
from streamkit.http.dates import format_http_date, parse_http_date
from streamkit.http.ranges import Resolution, Span, Verdict, content_range, parse_range

__all__ = ["Headers", "Plan", "Representation", "plan"]

Headers = Iterable[tuple[bytes, bytes]]
"""Raw headers as ASGI has them: names and values, in order, names possibly repeated."""

_IGNORED = Resolution(Verdict.IGNORED)
_BYTES = (b"accept-ranges", b"bytes")
_EMPTY = (b"content-length", b"0")
# Metadata of a representation that is not being sent (§8, §15.4.5). By name and not by prefix:
# Content-Location stays, and Content-Security-Policy is about something else.
_METADATA = frozenset(
    (
        b"accept-ranges",
        b"content-digest",
        b"content-disposition",
        b"content-encoding",
        b"content-language",
        b"content-length",
        b"content-md5",
        b"content-range",
        b"content-type",
        b"digest",
        b"repr-digest",
    )
)
_FRESHNESS = frozenset((b"cache-control", b"expires"))


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
    headers: tuple[tuple[bytes, bytes], ...] = ()
    steps: tuple[Step, ...] = ()
    dropped: frozenset[bytes] = frozenset()

    @property
    def body_length(self) -> int | None:
        """Bytes the steps come to (0 for HEAD, 304, 412, 416); None if the size is unknown."""
        return body_length(self.steps)

    @property
    def spans(self) -> tuple[Span, ...]:
        """The spans among the steps."""
        return tuple(step for step in self.steps if isinstance(step, Span))

    def merge(self, own: Headers) -> list[tuple[bytes, bytes]]:
        """Give the headers to send: the response's `own` as far as they may stay, then the plan's."""
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
    own = {name.lower(): value for name, value in reversed(list(headers))}
    if status != 200 or method not in ("GET", "HEAD"):
        return _as_it_is(method, status, _Subject.of(info, own, None, now))
    subject = _Subject.of(info, own, _validators(info, own, now), now)
    fields = collect_fields(request_headers)
    decision = evaluate(method, fields, subject.validators, now=now)
    if decision is Decision.NOT_MODIFIED:
        return _not_modified(subject)
    ...
