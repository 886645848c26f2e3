"""The charset of a format: what Python calls it, and how text is encoded in it."""

from __future__ import annotations

import codecs
from typing import Literal, NamedTuple

__all__ = ["Charset", "find_charset", "require_utf8"]

# Codecs that write a mark before the text, each time they are asked: the one without, and the mark.
_MARKED = {
    "utf-8-sig": ("utf-8", codecs.BOM_UTF8),
    "utf-16": ("utf-16-le", codecs.BOM_UTF16_LE),
    "utf-32": ("utf-32-le", codecs.BOM_UTF32_LE),
}
_MARKS = {
    "utf-8": codecs.BOM_UTF8,
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


class Charset(NamedTuple):
    """How to encode text piece by piece."""

    name: str
    """As it was asked for."""
    codec: str
    """Python's name of a codec that writes no byte order mark."""
    start: bytes
    """What the text starts with: the mark of UTF-16, UTF-32 and utf-8-sig, or nothing."""
    mark: bytes | None
    """The byte order mark of this charset, `None` where there is none."""

    @property
    def label(self) -> str:
        """What a header calls it: "utf-8-sig" is Python's own name, and no name tells of a mark."""
        return "utf-8" if self.codec == "utf-8" and self.start else self.name

    def is_read_as(self, other: Charset) -> bool:
        """Whether a reader who is told of the other one reads this; UTF-8 may have a mark."""
        return self.codec == other.codec and (self.codec == "utf-8" or self.start == other.start)

    def encode(self, text: str, unencodable: Literal["error", "replace"] = "error") -> bytes:
        """The bytes of a piece of text.

        Lone surrogates become U+FFFD in the charsets of Unicode. Raises `UnicodeEncodeError` for
        what other charsets have no place for, unless it is replaced by a question mark.
        """
        try:
            return text.encode(self.codec)
        except UnicodeEncodeError:
            if self.mark is not None:
                # By way of UTF-16 a pair of surrogates becomes its character, a lone one U+FFFD.
                whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
                return whole.encode(self.codec)
            if unencodable == "replace":
                return text.encode(self.codec, "replace")
            raise


def find_charset(name: str) -> Charset:
    """The charset of a name, in any of the spellings that Python knows.

    Raises `TypeError` for a name that is no `str`, `ValueError` for one of no charset.
    """
    if not isinstance(name, str):
        raise TypeError(f"charset must be a str such as 'utf-8', got {name!r:.60}")
    try:
        "".encode(name)
        codec = codecs.lookup(name).name
    except (LookupError, ValueError, UnicodeError):
        raise ValueError(
            f"charset {name!r} is none that Python can encode text in; pass one such as 'utf-8', "
            f"'cp1252' or 'shift_jis'"
        ) from None
    codec, start = _MARKED.get(codec, (codec, b""))
    return Charset(name, codec, start, _MARKS.get(codec))


def require_utf8(name: str, owner: str, reason: str) -> None:
    """Raise `ValueError` unless the charset of that name is UTF-8; `reason` says why it must be."""
    charset = find_charset(name)
    if charset.codec != "utf-8" or charset.start:
        raise ValueError(f"{owner} is always UTF-8 ({reason}), got charset={name!r}; leave it out")
