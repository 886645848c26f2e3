"""Content codings: which one a request accepts, and what a coding changes in the headers.

RFC 9110 §8.4.1 (codings), §8.8.3.3 (entity tags), §12.5.3 (Accept-Encoding), §12.5.5 (Vary).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from streamkit.http.conditions import EntityTag, mended_etag, parse_etag

__all__ = [
    "CodedHeaders",
    "add_vary",
    "code_headers",
    "coded_etag",
    "coded_etags",
    "compressible",
    "forbids_transform",
    "negotiate",
    "split_etag",
]

_OWS = " \t"
# One member: a coding, and its weight. More than three digits are taken, as no reader minds them.
_MEMBER = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]*)?|1(?:\.0*)?))?"
)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_CODINGS = ("zstd", "br", "gzip")
# What shrinks besides `text/*` and the suffixes.
_SHRINKING = """
    application/graphql application/javascript application/json application/json-seq
    application/jsonl application/ndjson application/postscript application/rtf application/sql
    application/toml application/vnd.ms-fontobject application/wasm application/x-javascript
    application/x-json-stream application/x-jsonlines application/x-ndjson application/x-sh
    application/x-tar application/x-www-form-urlencoded application/x-yaml application/xml
    application/yaml font/otf font/ttf image/bmp image/x-icon
"""
_TYPES = frozenset(_SHRINKING.split())
_SUFFIXES = ("+json", "+json-seq", "+text", "+xml", "+yaml")
# Headers that are about the bytes as they are without a coding.
_OF_PLAIN_BYTES = frozenset(
    b"accept-ranges content-digest content-length content-md5 digest repr-digest".split()
)
# Statuses with no body, or with a part of one.
_NOT_WHOLE = frozenset((204, 205, 206, 304, 416))


def negotiate(accept_encoding: str | None, offered: Sequence[str]) -> str | None:
    """The coding of `offered` that a request wants most, or None for the plain bytes.

    `accept_encoding` is the field's value, None if the request has none; a field sent twice is
    joined with a comma. Codings are compared without regard to case, and `x-gzip` is gzip. The
    highest weight wins, and among equals the one `offered` first. `identity` wins only where it is
    named with a higher weight than all that is offered. A request without the field gets the plain
    bytes, though §12.5.3 would allow any coding: it comes from a client that decodes none. One that
    refuses everything, `identity` too, gets the plain bytes as well: §12.5.3 asks for no error.
    A member that breaks the grammar counts as absent, and a coding named twice has the lower
    weight.

    >>> negotiate("gzip;q=0.8, br;q=0.8, zstd;q=0", ["zstd", "br", "gzip"])
    'br'
    """
    if not accept_encoding:
        return None
    weights = _weights(accept_encoding)
    others = weights.get("*", 0.0)
    best, most = None, 0.0
    for coding in offered:
        weight = weights.get(coding.lower(), others)
        if weight > most:
            best, most = coding, weight
    return best if most >= weights.get("identity", 0.0) else None


def _weights(value: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for member in value.split(","):
        found = _MEMBER.fullmatch(member.strip(_OWS))
        if found is not None:
            coding = found[1].lower()
            coding = "gzip" if coding == "x-gzip" else coding
            weight = 1.0 if found[2] is None else float(found[2])
            weights[coding] = min(weight, weights.get(coding, weight))
    return weights


def compressible(media_type: str | None) -> bool:
    """Whether content of a media type shrinks: text, and what is written as text does.

    Parameters and case don't matter. Images, films, fonts for the web, archives and `None` don't
    shrink, or nothing is known of them.

    >>> compressible("application/problem+json; charset=utf-8"), compressible("image/png")
    (True, False)
    """
    essence = (media_type or "").partition(";")[0].strip(_OWS).lower()
    kind, _, subtype = essence.partition("/")
    if not subtype:
        return False
    return kind == "text" or essence in _TYPES or subtype.endswith(_SUFFIXES)


def forbids_transform(cache_control: str | None) -> bool:
    """Whether a `Cache-Control` value has `no-transform` (RFC 9111 §5.2.2.6).

    >>> forbids_transform('private, No-Transform'), forbids_transform('x="no-transform"')
    (True, False)
    """
    directives = _QUOTED.sub("", cache_control or "").split(",")
    return any(name.partition("=")[0].strip(_OWS).lower() == "no-transform" for name in directives)


def add_vary(vary: str | None, name: str = "Accept-Encoding") -> str:
    """A `Vary` value with one more field name; as it is if that, or `*`, stands in it.

    >>> add_vary("Origin"), add_vary("*")
    ('Origin, Accept-Encoding', '*')
    """
    members = [member.strip(_OWS) for member in (vary or "").split(",")]
    members = [member for member in members if member]
    known = {member.lower() for member in members}
    if "*" in known or name.lower() in known:
        return ", ".join(members)
    return ", ".join([*members, name])


def coded_etag(etag: str, coding: str, *, weak: bool = False) -> str:
    """The entity tag of a representation in a coding; another one than the plain one's (§8.8.3.3).

    `weak=True` makes it weak, for compressed bytes that may differ from one response to the next:
    a strong tag promises the same bytes (§8.8.1), and where a stream is flushed depends on time.
    Raises `ValueError` for what is no entity tag.

    >>> coded_etag('"abc"', "gzip"), coded_etag('"abc"', "br", weak=True)
    ('"abc--gzip"', 'W/"abc--br"')
    """
    tag = parse_etag(etag)
    if tag is None:
        raise ValueError(f"{etag!r} is not an entity tag; write '\"v7\"' or 'W/\"v7\"'")
    return str(EntityTag(f"{tag.opaque}--{coding}", weak=tag.weak or weak))


def coded_etags(
    pairs: Iterable[tuple[bytes, bytes]], coding: str, *, weak: bool = False
) -> list[tuple[bytes, bytes]]:
    """Raw headers with their `ETag` as `coded_etag` has it, or without one that is no tag."""
    kept = []
    for name, value in pairs:
        if name.lower() == b"etag":
            if (tag := mended_etag(value.decode("latin-1"))) is None:
                continue
            value = coded_etag(str(tag), coding, weak=weak).encode("latin-1")
        kept.append((name, value))
    return kept


def split_etag(etag: str) -> tuple[str, str | None]:
    """Undo `coded_etag`: the plain representation's tag, and the coding, or None.

    For an application that compares `If-Match` with the tags it knows. A response needs it not: it
    compares `If-None-Match` with the coded tag itself.

    >>> split_etag('W/"abc--gzip"'), split_etag('"a--b"')
    (('W/"abc"', 'gzip'), ('"a--b"', None))
    """
    tag = parse_etag(etag)
    if tag is not None:
        opaque, mark, coding = tag.opaque.rpartition("--")
        if mark and coding in _CODINGS:
            return str(EntityTag(opaque, weak=tag.weak)), coding
    return etag, None


class CodedHeaders(NamedTuple):
    """What to compress a body with, None for not at all, and the headers that say so."""

    coding: str | None
    headers: list[tuple[bytes, bytes]]


def code_headers(
    request_headers: Iterable[tuple[bytes, bytes]],
    own: Iterable[tuple[bytes, bytes]],
    offered: Sequence[str],
    *,
    status: int = 200,
    media_type: str | None = None,
    weak: bool = True,
) -> CodedHeaders:
    """Decide about the coding of a whole response, and change its `own` headers accordingly.

    Both are raw headers as ASGI has them. Nothing changes where compression is out of the question:
    the body has a coding or is a part already, has no content (by `status`), is of a type that
    doesn't shrink (`Content-Type` of `own`, else `media_type`), or must not be transformed.
    Otherwise `Vary` names `Accept-Encoding`, whatever the request says; once a coding is chosen,
    `Content-Encoding` names it, `Accept-Ranges` is none, what is about the plain bytes goes, and an
    `ETag` becomes the coded one, weak unless `weak=False`: see `coded_etag`. So preconditions are
    evaluated with these headers, and a tag sent before is known again.
    """
    pairs = [(name.lower(), value) for name, value in own]
    known = dict(pairs)
    type_ = known.get(b"content-type")
    if (
        not offered
        or status < 200
        or status in _NOT_WHOLE
        or b"content-encoding" in known
        or b"content-range" in known
        or not compressible(media_type if type_ is None else type_.decode("latin-1"))
        or forbids_transform(_joined(pairs, b"cache-control"))
    ):
        return CodedHeaders(None, pairs)
    vary = add_vary(_joined(pairs, b"vary")).encode("latin-1")
    accepted = _joined(request_headers, b"accept-encoding")
    coding = negotiate(accepted, offered)
    if coding is None:
        return CodedHeaders(None, [*_without(pairs, frozenset((b"vary",))), (b"vary", vary)])
    kept = coded_etags(_without(pairs, _OF_PLAIN_BYTES | {b"vary"}), coding, weak=weak)
    added = [
        (b"content-encoding", coding.encode("ascii")),
        (b"accept-ranges", b"none"),
        (b"vary", vary),
    ]
    return CodedHeaders(coding, kept + added)


def _without(
    pairs: Iterable[tuple[bytes, bytes]], names: frozenset[bytes]
) -> list[tuple[bytes, bytes]]:
    return [pair for pair in pairs if pair[0] not in names]


def _joined(pairs: Iterable[tuple[bytes, bytes]], name: bytes) -> str | None:
    """All values of a field, joined as §5.3 has it."""
    found = [value.decode("latin-1") for known, value in pairs if known.lower() == name]
    return ", ".join(found) if found else None
