"""What a response describes: the content's facts, under the response's own headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Protocol

from streamkit.http.conditions import EntityTag, Validators, mended_etag, required_etag
from streamkit.http.dates import format_http_date, parse_http_date

__all__ = ["Representation", "Subject", "described", "undescribed"]

_ETAG = frozenset((b"etag",))
# Decided here, or by the server: never taken from what is kept with the content.
_COMPUTED = frozenset(
    b"accept-ranges connection content-length content-range content-type date etag last-modified "
    b"transfer-encoding".split()
)


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


@dataclass(slots=True)
class Subject:
    """What the response is about: the representation, under the response's own headers."""

    size: int | None
    sliceable: bool  # whether ranges may be taken of it
    content_type: bytes | None
    added: list[tuple[bytes, bytes]]  # headers that describe it, beside or in place of `own`
    dropped: frozenset[bytes] = frozenset()
    etag: EntityTag | None = None
    last_modified: datetime | None = None
    date_is_shared: bool = False
    coded: bool = False  # whether it has a Content-Encoding

    @property
    def validators(self) -> Validators:
        return Validators.known(self.etag, self.last_modified, self.date_is_shared)


def undescribed(info: Representation, own: Mapping[bytes, bytes]) -> Subject:
    """Content without validators; how long to keep it is for the response to say."""
    added: list[tuple[bytes, bytes]] = []
    content_type = _add_type(info, own, added)
    _add_stored(info, own, added)
    added = [pair for pair in added if pair[0].startswith(b"content-")]
    return Subject(info.size, False, content_type, added)


def described(info: Representation, own: Mapping[bytes, bytes], now: datetime) -> Subject:
    added: list[tuple[bytes, bytes]] = []
    content_type = _add_type(info, own, added)
    accepted = b"accept-ranges" not in own or own[b"accept-ranges"].lower() == b"bytes"
    subject = Subject(info.size, accepted and info.size is not None, content_type, added)
    # Tools that compress a file give the result its time.
    subject.date_is_shared = b"accept-encoding" in own.get(b"vary", b"").lower()
    _add_etag(info, own, subject)
    _add_last_modified(info, own, subject, now)
    _add_stored(info, own, added)
    subject.coded = b"content-encoding" in own or b"content-encoding" in dict(added)
    return subject


def _add_type(
    info: Representation, own: Mapping[bytes, bytes], added: list[tuple[bytes, bytes]]
) -> bytes | None:
    value = own.get(b"content-type")
    if value is None and info.media_type is not None:
        value = info.media_type.encode("latin-1")
        added.append((b"content-type", value))
    return value


def _add_etag(info: Representation, own: Mapping[bytes, bytes], subject: Subject) -> None:
    value = own.get(b"etag")
    if value is None:
        if info.etag is not None:
            subject.etag, value = _entity_tag(info.etag)
            subject.added.append((b"etag", value))
        return
    subject.etag = mended_etag(value.decode("latin-1"))
    if subject.etag is None:
        subject.dropped = _ETAG
    elif (mended := str(subject.etag).encode("latin-1")) != value:
        subject.added.append((b"etag", mended))


def _add_last_modified(
    info: Representation, own: Mapping[bytes, bytes], subject: Subject, now: datetime
) -> None:
    if b"last-modified" in own:
        moment = parse_http_date(own[b"last-modified"].decode("latin-1"), now=now)
        if moment is None or moment <= now:
            subject.last_modified = moment
            return
    else:
        moment = info.last_modified
        if moment is None:
            return
        value = _http_date(moment)
        if moment <= now:
            subject.last_modified = moment
            subject.added.append((b"last-modified", value))
            return
    # A date in the future is sent as that of now (§8.8.2.1), and no condition is judged by it.
    # Servers renew their Date about once a second: a little earlier is never later than that.
    value = _http_date(now.replace(microsecond=0) - timedelta(seconds=2))
    subject.added.append((b"last-modified", value))


def _add_stored(
    info: Representation, own: Mapping[bytes, bytes], added: list[tuple[bytes, bytes]]
) -> None:
    """Headers kept with the content; `Representation` need not have them."""
    for name, value in getattr(info, "headers", ()):
        pair = name.lower().encode("latin-1"), value.encode("latin-1")
        if pair[0] not in own and pair[0] not in _COMPUTED:
            added.append(pair)


@lru_cache(1024)
def _entity_tag(etag: str) -> tuple[EntityTag, bytes]:
    return required_etag(etag), etag.strip(" \t").encode("latin-1")


@lru_cache(1024)
def _http_date(moment: datetime) -> bytes:
    return format_http_date(moment).encode("ascii")
