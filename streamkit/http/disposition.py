"""The `Content-Disposition` response header (RFC 6266, RFC 8187)."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import quote

__all__ = ["content_disposition"]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# A separator would let the name leave the download folder (RFC 6266 §4.3). No header may carry a
# control character (RFC 9110 §5.5), and a line separator is one in all but its category. Controls
# of direction make `exe.pdf` of `fdp.exe` (Unicode TR 36 §2.5); the marks U+200E, U+200F and U+061C
# turn no letter around, and stay. A lone surrogate, as in the name of a file that is not UTF-8 on
# disk, has no encoding.
_NEVER_SENT = re.compile(
    r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
# RFC 6266 appendix D: user agents differ on a quoted `%` and on backslash escapes.
_NOT_IN_FALLBACK = re.compile(r'[^ -~]|["%/\\]')
# attr-char of RFC 8187 §3.2.1, without what quote() never touches.
_ATTR_CHARS = "!#$&+^`|"


def content_disposition(filename: str, disposition_type: str = "attachment") -> str:
    """Write a `Content-Disposition` value that names the file for old and new clients alike.

    An ASCII `filename` always; `filename*` in UTF-8 beside it when the first is not the whole
    truth (RFC 6266 appendix D). In both, `_` replaces what would harm: `/` and `\\`, control
    characters, and those that turn the direction of text, so that a name never fails for what a
    user has typed.

    Raises `ValueError` for an empty name and a type that is no token, `TypeError` for a name that
    is no `str`.

        content_disposition("été.pdf")
        # attachment; filename="ete.pdf"; filename*=UTF-8''%C3%A9t%C3%A9.pdf
    """
    _check_type(disposition_type)
    _check_name(filename)
    # The text itself: a subclass of str (an enum, say) may format itself as something else.
    name = _NEVER_SENT.sub("_", str.__str__(filename))
    fallback = _fallback(name)
    value = f'{str.__str__(disposition_type)}; filename="{fallback}"'
    if fallback == name:
        return value
    return f"{value}; filename*=UTF-8''{quote(name, safe=_ATTR_CHARS)}"


def _fallback(name: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    # Decomposing can bring a separator or a quote to light, so replacing comes last.
    return _NOT_IN_FALLBACK.sub("_", bare) or "_"


def _check_type(disposition_type: str) -> None:
    if not _TOKEN.fullmatch(disposition_type):
        raise ValueError(
            f"disposition type {disposition_type!r} is not a token (RFC 9110 §5.6.2); "
            "use 'attachment' to save the file or 'inline' to show it"
        )


def _check_name(filename: str) -> None:
    if not isinstance(filename, str):
        raise TypeError(
            f"filename must be a str, got {type(filename).__name__}; for a path pass its .name"
        )
    if not filename:
        raise ValueError("filename is '', but needs at least one character; pass None for no name")
