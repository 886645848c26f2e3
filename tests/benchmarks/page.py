"""The report as a page of the documentation, with its charts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .charts.bars import SECTIONS, bars
from .charts.growth import KINDS, NOTES, PANELS, growth, panels_of
from .facts import is_quick, machine
from .jobs.growth import SIZES
from .report import markdown, number, skipped, table
from .results import Results
from .run import Row

HOW_TO_READ = """\
Each row runs the peer and streamkit in turn (A B A B …): the same work on the same uvicorn, a
process for each side, after a warm-up in which both bodies are read in full and compared. The
client is a process of its own, on the same machine. *peer's* and *ours* are medians. What is a
second is better when higher, anything else when lower. *ratio* is the median over the rounds of
ours ÷ peer's of the same round, *range* its least and greatest: it holds from one machine to
another far better than the figures do. *goal* is what the project set itself. A peer that would
take minutes does a share of the work, named in its row.

The *floor* is a bare ASGI app on the same server, which sends the same bytes in as few messages as
can be, without a class around them: what is left is the cost of the server and of the content.
*µs/item* and *µs/request* are processor time of the server's process. Small responses and items
that come one by one are measured without a router, and small responses are asked for by wrk where
it is installed: a client in Python is slower than the floor."""


def write(path: Path, results: Results) -> list[Path]:
    """The page and the charts it shows, which stand beside it."""
    chart, growing = path.with_suffix(".svg"), path.with_name("growth.svg")
    pictures = {}
    if compared(results):
        pictures[chart] = bars(results)
    if grown(results):
        pictures[growing] = growth(results)
    path.write_text("\n\n".join(paragraphs(results, path, chart, growing)) + "\n", "utf-8")
    for picture, drawn in pictures.items():
        picture.write_text(drawn, "utf-8")
    return [path, *pictures]


def compared(results: Results) -> list[Row]:
    return [row for row in results.rows if row.job.group in SECTIONS]


def grown(results: Results) -> list[Row]:
    return [row for row in results.rows if row.job.group not in SECTIONS]


def paragraphs(results: Results, path: Path, chart: Path, growing: Path) -> Iterator[str]:
    yield "# Benchmarks"
    if is_quick(results.facts):
        yield "**A smoke test with a fraction of the work: not to be quoted.**"
    yield "This page and its charts are what this command wrote:"
    where = path.name if path.is_absolute() else path.as_posix()
    yield f"```console\n$ {results.facts['command']} --report {where}\n```"
    if compared(results):
        yield from comparison(results, chart)
    if grown(results):
        yield from growth_paragraphs(results, growing)
    if results.skips:
        yield "## Skipped"
        yield "\n".join(f"* {line}" for line in skipped(results.skips).splitlines())
    yield "## Measured on"
    yield measured_on(results.facts)


def comparison(results: Results, chart: Path) -> Iterator[str]:
    yield f"![How many times as fast streamkit is as each peer]({chart.name})"
    yield HOW_TO_READ
    for group, title in SECTIONS.items():
        if rows := [row for row in compared(results) if row.job.group == group]:
            yield f"## {title}"
            yield markdown(rows, notes=True)


def growth_paragraphs(results: Results, growing: Path) -> Iterator[str]:
    yield "## Many streams at once"
    yield f"![How cost grows with the number of open streams]({growing.name})"
    yield "\n".join(f"* {note}" for note in NOTES)
    for kind, title in KINDS.items():
        if panels := panels_of(results.rows, kind):
            yield f"### {title}"
            yield table(
                ["", "", *(f"{n:,}" for n in SIZES)],
                [
                    [PANELS[panel.figure], name, *(cell(dict(line), n) for n in SIZES)]
                    for panel in panels
                    for name, line in panel.lines.items()
                ],
            )

    if rows := [row for row in grown(results) if row.goal is not None]:
        yield "### Against the goals"
        yield markdown(rows)


def cell(line: dict[int, float], n: int) -> str:
    return number(line[n]) if n in line else "-"


def measured_on(facts: dict[str, Any]) -> str:
    lines = [
        f"* {facts['date']}",
        f"* {machine(facts)}, {facts['machine']}",
        f"* {facts['python']}",
    ]
    lines += [f"* {name} {version}" for name, version in facts["versions"].items()]
    return "\n".join(lines)
