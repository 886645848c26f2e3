"""Preconditions: entity tags, their comparison, and what to do (RFC 9110 §8.8.3, §13)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache

from streamkit.http.dates import parse_http_date

__all__ = [
    "MAX_FIELD_BYTES",
    "PRECONDITIONS",
    "Decision",
    "EntityTag",
    "TagList",
    "Validators",
    "collect_fields",
    "evaluate",
    "mended_etag",
    "parse_etag",
    "parse_etags",
    "range_applies",
    "required_etag",
]

_OWS = " \t"
_TAG = r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"'
_ONE = re.compile(_TAG)
# Whitespace is matched in one place after each token: two neighbours would backtrack.
_LISTED = re.compile(rf"(?:{_TAG}[ \t]*)?(?:,[ \t]*|\Z)")
_FIELDS = {
    name.encode("ascii"): name
    for name in (
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-range",
        "if-unmodified-since",
        "range",
    )
}
PRECONDITIONS = frozenset(("if-match", "if-modified-since", "if-none-match", "if-unmodified-since"))
"""The fields that `evaluate` judges by."""

MAX_FIELD_BYTES = 64 * 1024
"""Conditional fields and `Range` longer than this together are refused (§5.4): servers that limit
a request's header take less."""

# These select no representation that a condition could be about (§13.2.1).
_UNCONDITIONAL = frozenset(("CONNECT", "OPTIONS", "TRACE"))


class Decision(Enum):
    """What the preconditions of a request come to."""

    PROCEED = "proceed"
    NOT_MODIFIED = "not modified"
    PRECONDITION_FAILED = "precondition failed"


@dataclass(frozen=True, slots=True)
class EntityTag:
    """An entity tag: what stands between its quotes, and whether `W/` stands before them."""

    opaque: str
    weak: bool = False

    def __str__(self) -> str:
        return f'W/"{self.opaque}"' if self.weak else f'"{self.opaque}"'

    def strongly_equals(self, other: EntityTag) -> bool:
        return self == other and not self.weak

    def weakly_equals(self, other: EntityTag) -> bool:
        return self.opaque == other.opaque


@dataclass(frozen=True, slots=True)
class TagList:
    """The value of `If-Match` or `If-None-Match`; `anything` stands for `*`."""

    tags: tuple[EntityTag, ...] = ()
    anything: bool = False

    def strongly_matches(self, tag: EntityTag | None) -> bool:
        known = tag is not None and any(tag.strongly_equals(other) for other in self.tags)
        return self.anything or known

    def weakly_matches(self, tag: EntityTag | None) -> bool:
        known = tag is not None and any(tag.weakly_equals(other) for other in self.tags)
        return self.anything or known


@dataclass(frozen=True, slots=True)
class Validators:
    """What identifies the current version of a representation; make one with `of`."""

    etag: EntityTag | None = None
    last_modified: datetime | None = None
    # Whether the same content in another coding has the same date, which is then weak (§8.8.1).
    date_is_shared: bool = False

    @classmethod
    def of(cls, etag: str | None, last_modified: datetime | None) -> Validators:
        """Take an `ETag` header's value and an aware `datetime`, which is cut to whole seconds.

        Raises `ValueError` for a value that is no entity tag, and for a naive `datetime`.
        """
        return cls.known(None if etag is None else required_etag(etag), last_modified)

    @classmethod
    def known(
        cls, etag: EntityTag | None, last_modified: datetime | None, date_is_shared: bool = False
    ) -> Validators:
        """As `of`, for a tag that was parsed already."""
        moment = None if last_modified is None else _whole_second(last_modified)
        return cls(etag, moment, date_is_shared)


def collect_fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | None:
    """Pick the conditional fields and `range` out of raw ASGI headers, by lower-case name.

    A field sent twice is joined by a comma (§5.3): right for a list of tags, and it makes a
    repeated date or `Range` malformed, so that it counts for nothing.

    None if they come to more than `MAX_FIELD_BYTES`: the answer is a 431, as these are not to be
    ignored (§5.4).
    """
    found: dict[str, list[str]] = {}
    size = 0
    for raw_name, raw_value in headers:
        name = _FIELDS.get(raw_name) or _FIELDS.get(raw_name.lower())
        if name is None:
            continue
        # As HTTP/2 measures fields (RFC 9113 §6.5.2), so that many empty ones count too.
        size += len(name) + len(raw_value) + 32
        if size > MAX_FIELD_BYTES:
            return None
        found.setdefault(name, []).append(raw_value.decode("latin-1"))
    return {name: ", ".join(values) for name, values in found.items()} if found else {}


def parse_etag(value: str) -> EntityTag | None:
    """Parse one entity tag, or give None; the `W` is case-sensitive (§8.8.3)."""
    found = _ONE.fullmatch(value.strip(_OWS))
    return None if found is None else EntityTag(found[2], weak=found[1] is not None)


@lru_cache(1024)
def mended_etag(value: str) -> EntityTag | None:
    """Parse one entity tag that the application or a store set, with the quotes it may lack.

    What quotes don't mend counts as absent: it is the client's conditions that would fail.
    """
    if (tag := parse_etag(value)) is not None:
        return tag
    text = value.strip(_OWS)
    opaque = text.removeprefix("W/")
    tag = parse_etag(f'"{opaque}"') if opaque else None
    return None if tag is None else EntityTag(tag.opaque, weak=opaque != text)


def required_etag(value: str) -> EntityTag:
    """Parse one entity tag; raises `ValueError` for a value that is none."""
    tag = parse_etag(value)
    if tag is None:
        raise ValueError(
            f"{value!r} is not an entity tag: RFC 9110 §8.8.3 wants visible characters in "
            "double quotes, with W/ in front if it is weak; write '\"v7\"' or 'W/\"v7\"'"
        )
    return tag


def parse_etags(value: str) -> TagList:
    """Parse `*` or a list of entity tags; a syntax error anywhere gives the list that matches none.

    So a malformed `If-Match` fails and a malformed `If-None-Match` sends the whole: both are safe.
    """
    text = value.strip(_OWS)
    if text == "*":
        return TagList(anything=True)
    tags: list[EntityTag] = []
    position = 0
    while position < len(text):
        found = _LISTED.match(text, position)
        if found is None:
            return TagList()
        if found[2] is not None:
            tags.append(EntityTag(found[2], weak=found[1] is not None))
        position = found.end()
    return TagList(tuple(tags))


def evaluate(
    method: str, fields: Mapping[str, str], validators: Validators, *, now: datetime
) -> Decision:
    """Evaluate the preconditions in the order of §13.2.2, for a representation that exists.

    `fields` has lower-case names. `If-Range` is a matter of its own: see `range_applies`.
    """
    if not fields or method in _UNCONDITIONAL:
        return Decision.PROCEED
    if _is_another_version(fields, validators, now):
        return Decision.PRECONDITION_FAILED
    reading = method in ("GET", "HEAD")
    if not _is_known_version(fields, validators, now, reading=reading):
        return Decision.PROCEED
    return Decision.NOT_MODIFIED if reading else Decision.PRECONDITION_FAILED


def range_applies(fields: Mapping[str, str], validators: Validators, *, now: datetime) -> bool:
    """Evaluate `If-Range` (§13.1.5): whether a `Range` beside it may be honoured.

    A tag must be equal by the strong comparison, a date to the second. A date is a strong
    validator only once its second is over (§8.8.2.2): until then the content may change again
    and keep it. One that codings share says nothing about the bytes. Without `If-Range` it is
    True.
    """
    value = fields.get("if-range")
    if value is None:
        return True
    tag = parse_etag(value)
    if tag is not None:
        return validators.etag is not None and tag.strongly_equals(validators.etag)
    modified = validators.last_modified
    if modified is None or validators.date_is_shared:
        return False
    if _date(fields, "if-range", now) != modified:
        return False
    return now - modified >= timedelta(seconds=1)


def _is_another_version(fields: Mapping[str, str], validators: Validators, now: datetime) -> bool:
    """Steps 1 and 2: `If-Match`, or in its absence `If-Unmodified-Since`, is false."""
    if "if-match" in fields:
        return not parse_etags(fields["if-match"]).strongly_matches(validators.etag)
    since, modified = _date(fields, "if-unmodified-since", now), validators.last_modified
    return since is not None and modified is not None and modified > since


def _is_known_version(
    fields: Mapping[str, str], validators: Validators, now: datetime, *, reading: bool
) -> bool:
    """Steps 3 and 4: `If-None-Match`, or in its absence `If-Modified-Since`, is false."""
    if "if-none-match" in fields:
        return parse_etags(fields["if-none-match"]).weakly_matches(validators.etag)
    since, modified = _date(fields, "if-modified-since", now), validators.last_modified
    return reading and since is not None and modified is not None and modified <= since


def _date(fields: Mapping[str, str], name: str, now: datetime) -> datetime | None:
    """A date that is malformed counts as absent (§13.1.3, §13.1.4)."""
    value = fields.get(name)
    return None if value is None else parse_http_date(value.strip(_OWS), now=now)


def _whole_second(moment: datetime) -> datetime:
    if moment.utcoffset() is None:
        raise ValueError(
            f"last_modified must be a datetime with a time zone, got the naive {moment!r}; "
            "pass tzinfo=datetime.UTC, or call .astimezone() if it is local time"
        )
    return moment.astimezone(UTC).replace(microsecond=0)
