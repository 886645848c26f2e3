"""Media types: which of them are text."""

from __future__ import annotations

__all__ = ["is_textual"]

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
