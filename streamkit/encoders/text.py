"""Chunks as they are: the encoder of every class whose items are `str` or bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamkit.encoders.charsets import find_charset

__all__ = ["TextEncoder"]


class TextEncoder:
    """Encodes `str` in a charset, its mark before the first, and copies bytes-like items.

    `bytearray`, `memoryview`, `array.array` and the like are copied, because their owner may
    write into them again while the copy is still on its way to the client.

    >>> TextEncoder().encode("Öl"), TextEncoder().encode(bytearray(b"ok"))
    (b'\\xc3\\x96l', b'ok')
    """

    __slots__ = ("_charset", "_codec")

    def __init__(self, charset: str = "utf-8") -> None:
        self._charset = charset
        # That of others is looked up with the first text: bytes may be of one that Python lacks.
        self._codec = "utf-8" if charset == "utf-8" else ""

    def encode(self, item: object, /) -> bytes:
        """The bytes of one chunk; `TypeError` for any other type than `str` and bytes-like ones."""
        if isinstance(item, str):
            # The text itself: a subclass may have another `encode`.
            return str.encode(item, self._codec) if self._codec else self._begin(item)
        if type(item) is bytes:
            return item
        try:
            return memoryview(item).tobytes()  # type: ignore[arg-type]
        except TypeError:
            raise TypeError(
                f"items of a streaming response must be str or bytes-like, got "
                f"{type(item).__name__}: {item!r:.60}; encode it, or use a class made for such "
                f"items, such as CSVStreamingResponse or JSONLinesStreamingResponse; what a "
                f"library writes to a file is streamed by iterate_writes"
            ) from None

    @property
    def quick(self) -> tuple[type, Callable[[Any], bytes]] | None:
        """A type, and what does for items of exactly that type as `encode` does, but faster."""
        return (str, str.encode) if self._codec == "utf-8" else None

    def _begin(self, text: str) -> bytes:
        charset = find_charset(self._charset)
        self._codec = charset.codec
        return charset.start + str.encode(text, charset.codec)

    def finish(self) -> bytes:
        """Nothing closes a plain body."""
        return b""
