"""How many times as fast as each peer: a bar a row, on a logarithmic scale that begins at 1."""

from __future__ import annotations

from itertools import groupby

from ..report import number
from ..results import Results
from ..run import Row
from .labels import MARKS, TIMES, footer, label_of, name_of, quantity
from .svg import EDGE, WIDTH, Drawing, Log

TITLE = "How many times as fast as each peer"
SECTIONS = {"core": "Streams", "trickle": "Items one by one", "small": "Small responses"}
SECTIONS |= {"files": "Files and ranges", "formats": "Formats", "operate": "In production"}
SECTIONS |= {"live": "Live streams"}
PEER, PLOT, PLOT_END = 340.0, 356.0, 668.0
TOP, SECTION, LINE, BAR = 96.0, 34.0, 22.0, 12.0
RIGHT = WIDTH - EDGE


def bars(results: Results) -> str:
    shown = [row for row in results.rows if row.job.group in SECTIONS]
    rates = [row for row in shown if row.more_is_better and row.ratio is not None]
    rates = [row for row in rates if not (row.peer and row.peer.floor)]
    limited = [row for row in shown if bounds(row) and not row.more_is_better]
    chart = Bars(rates)
    chart.legend()
    bottom = chart.limits(limited, chart.rates() + 14)
    return chart.drawing.render(
        footer(chart.drawing, results.facts, chart.notes, bottom + 16), described(rates)
    )


def described(rates: list[Row]) -> str:
    """The chart for who can't see it."""
    return ". ".join(
        f"{label_of(row.job)}: {number(row.ratio or 0)} times {name_of(row.peer)}" for row in rates
    )


def bounds(row: Row) -> list[str]:
    """What is not to be exceeded: a factor of the peer's, an amount."""
    factor = [f"≤ {row.goal:g}{TIMES}"] if row.goal else []
    return factor + ([f"≤ {quantity(row.limit, row.figure)}"] if row.limit is not None else [])


class Bars:
    def __init__(self, rates: list[Row]) -> None:
        self.drawing = Drawing(f"streamkit: {TITLE[0].lower()}{TITLE[1:]}")
        self.sections = {
            name: [row for row in rates if row.job.group == group]
            for group, name in SECTIONS.items()
            if any(row.job.group == group for row in rates)
        }
        values = [value for row in rates for value in (*row.ratios, row.goal or 1.0)]
        # With room for the figure behind the longest bar.
        low, high = min([0.8, *values]) * 0.95, max([10.0, *values]) * 2.4
        self.scale = Log(low, high, PLOT, PLOT_END)
        self.notes: list[str] = []

    def legend(self) -> None:
        draw, y = self.drawing, 62.0
        draw.text(EDGE, 38, TITLE, "ink title")
        draw.rect(EDGE, y - 10, 26, BAR, "ours")
        draw.text(EDGE + 34, y, "our rate ÷ the peer's, median of the rounds", "muted small")
        draw.rect(EDGE + 320, y - 10, 26, BAR, "missed")
        draw.text(EDGE + 354, y, "below the goal, or slower", "muted small")
        draw.line([(EDGE + 540, y - 4), (EDGE + 566, y - 4)], "ink-line")
        draw.text(EDGE + 574, y, "least to greatest", "muted small")
        draw.line([(EDGE + 710, y - 11), (EDGE + 710, y + 3)], "ink-line thick")
        draw.text(EDGE + 718, y, "goal", "muted small")

    def rates(self) -> float:
        """Every section; gives the place below them."""
        rows = sum(map(len, self.sections.values()))
        self._grid(TOP + len(self.sections) * SECTION + rows * LINE + 4)
        y = TOP
        for name, of_section in self.sections.items():
            self.drawing.text(EDGE, y + SECTION - 12, name, "ink heading")
            y += SECTION
            for job, of_job in groupby(of_section, key=lambda row: row.job):
                self.drawing.text(EDGE, y + 11, label_of(job) + self._mark(job.note))
                for row in of_job:
                    self._bar(row, y)
                    y += LINE
        return y

    def _grid(self, bottom: float) -> None:
        for tick in self.scale.ticks((1, 3)):
            x = self.scale.at(tick)
            line = "muted-line" if tick == 1 else "grid-line"
            self.drawing.line([(x, TOP), (x, bottom)], line)
            self.drawing.text(x, TOP - 6, f"{tick:g}{TIMES}", "muted small", "middle")
        self.drawing.text(RIGHT, TOP - 6, "the peer → streamkit", "muted small", "end")

    def _mark(self, note: str) -> str:
        if not note:
            return ""
        mark = MARKS[len(self.notes)]
        self.notes.append(f"{mark} {note.replace('`', '')}")
        return f" {mark}"

    def _bar(self, row: Row, y: float) -> None:
        draw, at, ratio = self.drawing, self.scale.at, row.ratio or 1.0
        low, high = min(row.ratios), max(row.ratios)
        draw.text(PEER, y + 11, name_of(row.peer), "muted", "end")
        start, end = sorted((at(1), at(ratio)))
        colour = "ours" if row.reached and ratio >= 1 else "missed"
        draw.rect(start, y + 1, max(end - start, 1), BAR, colour)
        draw.line([(at(low), y + 7), (at(high), y + 7)], "ink-line")
        if row.goal:
            draw.line([(at(row.goal), y - 1), (at(row.goal), y + BAR + 3)], "ink-line thick")
        beyond = max(high, 1.0, 0.0 if row.reached else row.goal or 0.0)
        draw.text(at(beyond) + 7, y + 11, f"{number(ratio)}{TIMES}", "ink strong")
        rates = f"{number(row.their_median or 0)} → {number(row.our_median)} {row.figure}"
        draw.text(RIGHT, y + 11, rates, "muted small", "end")

    def limits(self, rows: list[Row], y: float) -> float:
        """Figures that are to stay below something: ours, the peers', and the goal."""
        if not rows:
            return y
        draw, y = self.drawing, y + SECTION
        draw.text(EDGE, y - 12, "Memory, latency and processor time", "ink heading")
        for x, said, place in ((PLOT, "streamkit", "start"), (PLOT + 130, "peers", "start")):
            draw.text(x, y - 12, said, "muted small", place)
        draw.text(RIGHT, y - 12, "goal", "muted small", "end")
        for (job, figure), same in groupby(rows, key=lambda row: (row.job, row.figure)):
            self._limit(label_of(job, figure), list(same), y)
            y += LINE
        return y

    def _limit(self, label: str, rows: list[Row], y: float) -> None:
        draw, ours, figure = self.drawing, rows[0].our_median, rows[0].figure
        reached = all(row.reached for row in rows)
        draw.text(EDGE, y + 11, label)
        draw.text(
            PLOT, y + 11, quantity(ours, figure), "ink strong" if reached else "missed strong"
        )
        theirs = [
            f"{name_of(row.peer)} {number(row.their_median)}"
            for row in rows
            if row.their_median is not None
        ]
        draw.text(PLOT + 130, y + 11, ", ".join(theirs), "muted small")
        goal = ", ".join(dict.fromkeys(bound for row in rows for bound in bounds(row)))
        colour = "muted" if reached else "missed"
        draw.text(RIGHT, y + 11, goal if reached else f"{goal}, missed", f"{colour} small", "end")
