"""The README's table: a few rows of the report, each against one peer."""

from __future__ import annotations

import re
from pathlib import Path

from .report import number, table
from .run import Row

__all__ = ["SELECTED", "selected", "write"]

SELECTED = {
    "sync-lines": "200,000 short lines, `def` generator",
    "async-lines": "200,000 short lines, `async def` generator",
    "yield-sync": "the same, through FastAPI's `yield`, `def`",
    "yield-async": "the same, through FastAPI's `yield`, `async def`",
    "trickle-async": "100 streams of 20 items a second, `async def`",
    "trickle-events": "100 streams of 20 events a second",
    "small-async": "a stream of 3 chunks, `async def`",
    "small-bytes": "20 kB of bytes",
    "small-file": "a file of 20 kB",
    "file-1g": "a file of 1 GiB, in the page cache",
    "jsonlines-async": "100,000 JSON lines",
    "csv": "500,000 rows of CSV",
    "idle-events": "memory of an idle event stream",
}
MARKED = re.compile(r"(?<=<!-- benchmarks -->\n).*?(?=<!-- /benchmarks -->)", re.DOTALL)


def selected(rows: list[Row]) -> str:
    """The first comparison of each selected job, in the order of `SELECTED`."""
    lines = []
    for name, title in SELECTED.items():
        row = next((row for row in rows if row.job.name == name and is_shown(row)), None)
        if row is None or row.peer is None or row.their_median is None or row.ratio is None:
            continue
        figures = [number(row.their_median), number(row.our_median), f"{number(row.ratio)} x"]
        lines.append([title, row.peer.name, row.figure, *figures])
    return table(["job", "peer", "unit", "peer's", "streamkit's", "ratio"], lines)


def is_shown(row: Row) -> bool:
    return row.is_compared and row.peer is not None and not row.peer.floor


def write(path: Path, rows: list[Row]) -> None:
    """Write the table between the README's marks, if it is there and anything was measured."""
    if not path.exists() or not any(row.job.name in SELECTED for row in rows):
        return
    text = path.read_text(encoding="utf-8")
    path.write_text(MARKED.sub(lambda _: selected(rows) + "\n", text), encoding="utf-8")
