"""Open files that are counted, so that a page can show that none is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from streamkit import StreamOutcome

__all__ = ["CountedFiles"]


class CountedFiles:
    """Opens files, and knows which of them are open still and how the last response ended."""

    def __init__(self) -> None:
        self._files: list[TextIO] = []
        self._last: StreamOutcome | None = None

    def open(self, path: Path) -> TextIO:
        """Open a text file, which the caller closes."""
        file = path.open(encoding="utf-8")
        self._files = [file, *self._still_open()]
        return file

    def record(self, outcome: StreamOutcome) -> None:
        """Note how a response ended: an `on_close`."""
        self._last = outcome

    def report(self) -> str:
        """Say how many files are open, and how the last response ended."""
        return f"open files: {len(self._still_open())}\nlast outcome: {self._describe_last()}\n"

    def _still_open(self) -> list[TextIO]:
        return [file for file in self._files if not file.closed]

    def _describe_last(self) -> str:
        last = self._last
        if last is None:
            return "none yet"
        error = "" if last.error is None else f", {last.error!r}"
        return f"{last.reason} after {last.duration:.1f} s, {last.bytes_sent} bytes sent{error}"
