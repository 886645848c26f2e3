"""The words of a chart: short names, figures with their units, and what stands below."""

from __future__ import annotations

import textwrap
from itertools import chain
from typing import Any

from ..facts import is_quick, machine
from ..model import Job, Side
from ..report import number
from .svg import EDGE, WIDTH, Drawing

NAMES = {"starlette": "Starlette", "fastapi": "FastAPI"}
UNITS = {"ms", "MiB"}
TIMES = "\N{MULTIPLICATION SIGN}"
MARKS = "¹²³⁴⁵⁶⁷⁸⁹"
LINE_LENGTH = 130
FOOTER_LINE = 17.0


def name_of(side: Side | None) -> str:
    return NAMES.get(side.name, side.name) if side else ""


def label_of(job: Job, figure: str = "") -> str:
    """With what a figure says besides its unit: `p99` of `p99 ms`."""
    of, _, unit = figure.rpartition(" ")
    return (job.label or job.title).replace("`", "") + (f", {of}" if of and unit in UNITS else "")


def quantity(value: float, figure: str) -> str:
    unit = figure.rpartition(" ")[2]
    return f"{number(value)} {unit if unit in UNITS else figure}"


def footer(drawing: Drawing, facts: dict[str, Any], notes: list[str], y: float) -> float:
    """Notes, and what ran the figures; gives the height of the whole."""
    python = f"{facts['python']}, {', '.join(' '.join(one) for one in facts['versions'].items())}"
    lines = [*notes, f"{facts['date']} on {machine(facts)}", python, f"$ {facts['command']}"]
    drawing.line([(EDGE, y), (WIDTH - EDGE, y)], "grid-line")
    for part in chain.from_iterable(textwrap.wrap(line, LINE_LENGTH) for line in lines):
        y += FOOTER_LINE
        drawing.text(EDGE, y + 4, part, "muted small")
    if is_quick(facts):
        y += FOOTER_LINE + 4
        drawing.text(
            EDGE,
            y + 4,
            "A smoke test with a fraction of the work: not to be quoted.",
            "missed strong",
        )
    return y + 24
