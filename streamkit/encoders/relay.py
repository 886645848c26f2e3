"""Where an event stream stands whose bytes come from elsewhere, cut anywhere."""

from __future__ import annotations

import re
from enum import Enum, auto

__all__ = ["Partial", "Relay"]

# A field of that name at the beginning of a line, or behind a byte order mark.
_ID = re.compile(rb"[\r\n\xbf]id[:\r\n]")
_LINE_FEED = 10
_COLON = 58


class Partial(bytes):
    """Bytes that end within an event: nothing may be put behind them but their rest."""

    __slots__ = ()


class _Line(Enum):
    """What the line is that has begun and has not ended."""

    NONE = auto()
    COMMENT = auto()
    FIELD = auto()


class Relay:
    """Follows the lines of an event stream (WHATWG HTML §9.2.6): CR LF, LF and CR end a line.

    * `open`: an event has begun and its blank line has not come, or a line has not ended.
    * `id_sent`: an event had an id, which some readers then see in every blank line.
    """

    __slots__ = ("_after_cr", "_fields", "_line", "_skip_lf", "_tail", "id_sent", "open")

    def __init__(self) -> None:
        self.id_sent: bool = False
        self.reset()

    def reset(self) -> None:
        """A whole event of our own has been written."""
        self.open: bool = False
        self._fields = self._after_cr = self._skip_lf = False
        self._line = _Line.NONE
        self._tail = b"\n"

    def interrupt(self) -> None:
        """Something of our own comes next: no LF of a CR LF that was cut may follow it."""
        self._skip_lf = self._after_cr

    def feed(self, chunk: bytes) -> bytes:
        """Follow some bytes of the stream; gives those to send, `Partial` where `open`."""
        if not chunk:
            return Partial() if self.open else chunk
        if self._skip_lf:
            self._skip_lf = self._after_cr = False
            if chunk[0] == _LINE_FEED:
                return self.feed(chunk[1:])
        if not self.id_sent:
            seen = self._tail + chunk
            self.id_sent = _ID.search(seen) is not None
            self._tail = seen[-3:]
        if chunk.endswith((b"\n\n", b"\r\n\r\n")):
            self.open = self._fields = self._after_cr = False
            self._line = _Line.NONE
        else:
            self._follow(chunk)
        return Partial(chunk) if self.open else chunk

    def _follow(self, chunk: bytes) -> None:
        lines = chunk[1:] if self._after_cr and chunk[0] == _LINE_FEED else chunk
        self._after_cr = chunk.endswith(b"\r")
        lines = lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        blank = lines.rfind(b"\n\n")
        if blank < 0 and self._line is _Line.NONE and lines.startswith(b"\n"):
            lines = lines[1:]
            self._fields = False
        elif blank >= 0:
            lines = lines[blank + 2 :]
            self._fields, self._line = False, _Line.NONE
        *ended, last = lines.split(b"\n")
        for line in ended:
            self._begin(line)
            self._fields = self._fields or self._line is _Line.FIELD
            self._line = _Line.NONE
        self._begin(last)
        self.open = self._fields or self._line is not _Line.NONE

    def _begin(self, line: bytes) -> None:
        if line and self._line is _Line.NONE:
            self._line = _Line.COMMENT if line[0] == _COLON else _Line.FIELD
