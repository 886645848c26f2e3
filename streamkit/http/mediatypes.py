"""Media types: which of them are text, and their parameters."""

from __future__ import annotations

import re

__all__ = ["is_textual", "parameter"]

_ENDINGS = (
    "csv", "ecmascript", "graphql", "javascript", "json", "json-seq", "jsonl", "jsonlines",
    "json-stream", "mpegurl", "pem-file", "sh", "sparql-query", "sql", "subrip", "tex", "text",
    "toml", "urlencoded", "xml", "yaml",
)  # fmt: skip


def is_textual(media_type: str | None) -> bool:
    """Whether what has this media type is written in characters: `text/*`, JSON, XML and others.

    Parameters and case don't matter, but for `charset`, which is for text alone (RFC 6838 §4.2.1).

    >>> is_textual("application/problem+json"), is_textual("image/svg+xml"), is_textual("image/png")
    (True, True, False)
    """
    essence, _, parameters = (media_type or "").lower().partition(";")
    essence = essence.strip()
    return essence.startswith("text/") or essence.endswith(_ENDINGS) or "charset=" in parameters


def parameter(media_type: str | None, name: str) -> str | None:
    """The parameter of a media type or `Content-Type` (RFC 9110 §8.3.1), if it has one of the name.

    >>> parameter('text/csv; Charset="utf-8"; header=present', "charset")
    'utf-8'
    """
    pattern = rf""";\s*{name}\s*=\s*(?:"([^"]*)"|([^\s;]*))"""
    found = re.search(pattern, media_type or "", re.IGNORECASE)
    return None if found is None else found[found.lastindex or 0]
