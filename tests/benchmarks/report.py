"""Rows as aligned text and as Markdown."""

from __future__ import annotations

from fractions import Fraction

from .run import Row, Skipped

HEADINGS = ["job", "peer", "unit", "peer's", "ours", "ratio", "range", "goal", "reached"]


def number(value: float) -> str:
    for size, suffix in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == ' k' else size):.3g}{suffix}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def goals(row: Row) -> list[str]:
    sign = "≥" if row.more_is_better else "≤"
    found = [f"{sign} {row.goal:g} x"] if row.goal else []
    return found + ([f"≤ {row.limit:g}"] if row.limit is not None else [])


def cells(row: Row, job: str) -> list[str]:
    peer = row.peer.name if row.peer else "-"
    if row.peer and row.peer.share < 1:
        peer += f" ({Fraction(row.peer.share).limit_denominator(100)} of the work)"
    shown = row.ratios if row.is_compared else []
    return [
        job,
        peer,
        row.figure,
        "-" if row.their_median is None else number(row.their_median),
        number(row.our_median),
        f"{number(row.ratio)} x" if shown and row.ratio is not None else "-",
        f"{number(min(shown))} .. {number(max(shown))}" if shown else "-",
        ", ".join(goals(row)) or "-",
        ("yes" if row.reached else "NO") if goals(row) else "-",
    ]


def text(rows: list[Row]) -> str:
    lines = [HEADINGS, *(cells(row, row.job.name) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: list[Row], *, notes: bool = False) -> str:
    """With `notes`, a job's note stands below its title."""
    lines = []
    for row in rows:
        note = f"<br>*{row.job.note}*" if notes and row.job.note else ""
        lines.append(cells(row, row.job.title + note)[:-1])
    return table(HEADINGS[:-1], lines)


def table(headings: list[str], lines: list[list[str]]) -> str:
    every = [headings, ["---"] * len(headings), *lines]
    return "\n".join("| " + " | ".join(line) + " |" for line in every)


def skipped(skips: list[Skipped]) -> str:
    return "\n".join(f"{skip.job.name}: {skip.side.name} skipped: {skip.reason}" for skip in skips)
