"""How cost grows with the number of streams: a row of panels for each kind of stream."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..jobs.growth import SIZES
from ..report import number
from ..results import Results
from ..run import Row, Skipped
from .labels import footer, name_of
from .svg import EDGE, WIDTH, Drawing, Linear, Log

TITLE = "How cost grows with the number of open streams"
KINDS = {
    "async": "Async generators, a chunk a second each",
    "events": "Event streams, an event a second each",
    "sync": "Sync generators that sleep a second before each chunk",
}
PANELS = {
    "KiB/stream": "Memory a stream, KiB",
    "µs/chunk": "Processor time a chunk, µs",
    "chunks/s": "Chunks a second that arrive",
    "/ping p99 ms": "p99 of a /ping beside them, ms",
    "def /ping p99 ms": "p99 of a def /ping beside them, ms",
}
LOGARITHMIC = {"chunks/s", "/ping p99 ms", "def /ping p99 ms"}
STYLES = [("ours", "circle"), ("first", "square"), ("second", "triangle")]
NOTES = [
    "The number of streams, chunks and p99 are on logarithmic scales. What few streams need can't"
    " be told from what the server needs by itself: they have no point there.",
    "A chunk that wakes a server costs more than one of many that it finds when it looks: the time"
    " a chunk takes falls with their number, until the server has no more to give.",
    "Pings are due every 10 ms for 2.5 s and timed from then; one without an answer at the end"
    " counts as long as it has waited until then: figures near 2,500 ms are a bound.",
    "A sync generator that sleeps holds a thread: Starlette's share 40 with `def` endpoints,"
    " streamkit's have 256 of their own. More chunks a second than threads can't be had.",
]
TOP, ROW, HEIGHT, ACROSS, PANEL = 56.0, 226.0, 132.0, 276.0, 196.0
APART = 13.0

Points = list[tuple[int, float]]


@dataclass
class Panel:
    """One figure of one kind of stream: a line for each side, ours first."""

    figure: str
    lines: dict[str, Points] = field(default_factory=dict)


def growth(results: Results) -> str:
    drawing = Drawing(f"streamkit: {TITLE[0].lower()}{TITLE[1:]}")
    drawing.text(EDGE, 38, TITLE, "ink title")
    y, said = TOP, []
    for kind, title in KINDS.items():
        if panels := panels_of(results.rows, kind):
            draw_row(drawing, title, panels, y)
            said += [described(title, panel) for panel in panels]
            y += ROW
    notes = [note.replace("`", "") for note in NOTES] + absent(results.skips)
    return drawing.render(footer(drawing, results.facts, notes, y + 8), " ".join(said))


def panels_of(rows: list[Row], kind: str) -> list[Panel]:
    found: dict[str, Panel] = {}
    for row in rows:
        if not row.job.name.startswith(f"growth-{kind}-"):
            continue
        lines = found.setdefault(row.figure, Panel(row.figure)).lines
        ours = lines.setdefault("streamkit", [])
        if not ours or ours[-1][0] != row.job.amount:
            ours.append((row.job.amount, row.our_median))
        if row.their_median is not None:
            lines.setdefault(name_of(row.peer), []).append((row.job.amount, row.their_median))
    order = list(PANELS)
    return sorted(found.values(), key=lambda panel: order.index(panel.figure))


def described(title: str, panel: Panel) -> str:
    """A panel for who can't see it: the last point of each line."""
    ends = [
        f"{name} {number(line[-1][1])} at {line[-1][0]:,}" for name, line in panel.lines.items()
    ]
    return f"{title}: {PANELS[panel.figure]}: {', '.join(ends)}."


def absent(skips: list[Skipped]) -> list[str]:
    return [
        f"{skip.job.title}, without {name_of(skip.side)}: {skip.reason}."
        for skip in skips
        if skip.job.group == "growth"
    ]


def draw_row(drawing: Drawing, title: str, panels: list[Panel], y: float) -> None:
    drawing.text(EDGE, y + 16, title, "ink heading")
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    x = WIDTH - EDGE - 130.0 * len(names)
    for name, (colour, shape) in zip(names, STYLES, strict=False):
        x += 20
        drawing.line([(x, y + 12), (x + 22, y + 12)], f"{colour}-line thick")
        drawing.mark(shape, x + 11, y + 12, colour)
        drawing.text(x + 28, y + 16, name, "ink small")
        x += 110
    for place, panel in enumerate(panels):
        draw_panel(drawing, panel, names, EDGE + 26 + ACROSS * place, y + 52)


def draw_panel(drawing: Drawing, panel: Panel, names: list[str], x: float, y: float) -> None:
    drawing.text(x - 26, y - 12, PANELS[panel.figure], "muted small")
    across = Log(SIZES[0], SIZES[-1], x, x + PANEL)
    up = upwards(panel, y)
    draw_axes(drawing, across, up, x, y)
    if panel.figure == "chunks/s":
        wanted = [(across.at(n), up.at(n)) for n in SIZES]
        drawing.line(wanted, "muted-line dotted")
        drawing.text(wanted[-1][0] + 6, wanted[-1][1] + 4, "wanted", "muted small")
    ends = []
    for name, (colour, shape) in zip(names, STYLES, strict=False):
        points = [(across.at(n), up.at(value)) for n, value in panel.lines.get(name, [])]
        drawing.line(points, f"{colour}-line thick")
        for point in points:
            drawing.mark(shape, *point, colour)
        if points:
            ends.append((points[-1], number(panel.lines[name][-1][1]), colour))
    draw_ends(drawing, ends)


def upwards(panel: Panel, y: float) -> Log | Linear:
    values = [value for line in panel.lines.values() for _, value in line]
    if panel.figure == "chunks/s":
        return Log(0.5, SIZES[-1], y + HEIGHT, y)
    if panel.figure in LOGARITHMIC:
        return Log(min(0.1, *values), max(1000, *values), y + HEIGHT, y)
    return Linear(max(values), y + HEIGHT, y)


def draw_axes(drawing: Drawing, across: Log, up: Log | Linear, x: float, y: float) -> None:
    for tick in up.ticks((1,)) if isinstance(up, Log) else up.ticks():
        drawing.line([(x, up.at(tick)), (x + PANEL, up.at(tick))], "grid-line")
        drawing.text(x - 6, up.at(tick) + 4, short(tick), "muted small", "end")
    for n in SIZES:
        drawing.text(across.at(n), y + HEIGHT + 17, short(n), "muted small", "middle")


def short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"


def draw_ends(drawing: Drawing, ends: list[tuple[tuple[float, float], str, str]]) -> None:
    """The last figure of each line beside its point, moved apart where they would overlap."""
    lowest = float("-inf")
    for (x, y), said, colour in sorted(ends, key=lambda end: end[0][1]):
        lowest = max(y + 4, lowest + APART)
        drawing.text(x + 8, lowest, said, f"{colour} small strong")
