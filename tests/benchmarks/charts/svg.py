"""The few shapes that the charts are made of."""

from __future__ import annotations

import math
from html import escape

WIDTH, EDGE = 860, 24.0
# What is drawn, and its colour on a light and on a dark ground.
FILLS = {
    "ground": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#f0f6fc"),
    "muted": ("#59636e", "#9198a1"),
    "band": ("#f6f8fa", "#151b23"),
    "ours": ("#0b7285", "#3bc9db"),
    "missed": ("#c2410c", "#ff922b"),
    "first": ("#6e7781", "#adb5bd"),
    "second": ("#8250df", "#c297ff"),
}
STROKES = {name: FILLS[name] for name in ("ink", "muted", "ours", "missed", "first", "second")}
STROKES |= {"grid": ("#d8dee4", "#2a313c"), "edge": ("#d1d9e0", "#3d444d")}
STYLE = """
text { font: 13px system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif;
       font-variant-numeric: tabular-nums }
.title { font-size: 19px; font-weight: 600 } .heading { font-weight: 600 }
.small { font-size: 11.5px } .strong { font-weight: 600 }
polyline { fill: none } .thick { stroke-width: 2 } .hollow { stroke-width: 1.5 }
.dotted { stroke-dasharray: 2 3 }
"""


def colours(shade: int) -> str:
    fills = (f".{name} {{ fill: {both[shade]} }}" for name, both in FILLS.items())
    strokes = (f".{name}-line {{ stroke: {both[shade]} }}" for name, both in STROKES.items())
    return "\n".join((*fills, *strokes))


class Drawing:
    """Shapes from back to front; a class is a name of `FILLS`, or one of `STROKES` and `-line`."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, said: str, classes: str = "ink", at: str = "start") -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{at}"'
        self._shapes.append(f'<text {place} class="{classes}">{escape(said)}</text>')

    def rect(self, x: float, y: float, width: float, height: float, classes: str) -> None:
        place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        self._shapes.append(f'<rect {place} class="{classes}" rx="2"/>')

    def line(self, points: list[tuple[float, float]], classes: str) -> None:
        through = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(f'<polyline points="{through}" class="{classes}"/>')

    def mark(self, shape: str, x: float, y: float, colour: str) -> None:
        """A circle, a square or a triangle, so that lines differ in more than colour."""
        outline = {
            "circle": f"M{x - 3.5:.1f},{y:.1f}a3.5,3.5 0 1 0 7,0a3.5,3.5 0 1 0 -7,0z",
            "square": f"M{x - 3:.1f},{y - 3:.1f}h6v6h-6z",
            "triangle": f"M{x:.1f},{y - 4:.1f}l4,7h-8z",
        }[shape]
        inside = colour if shape == "circle" else "ground"
        self._shapes.append(f'<path d="{outline}" class="{inside} {colour}-line hollow"/>')

    def render(self, height: float, description: str) -> str:
        head = f'viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" height="{height:.0f}"'
        dark = f"@media (prefers-color-scheme: dark) {{\n{colours(1)}\n}}"
        # A ground of its own: a page's theme and the reader's preference need not agree.
        card = f'x="0.5" y="0.5" width="{WIDTH - 1}" height="{height - 1:.0f}" rx="8"'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" {head} role="img"'
                ' aria-labelledby="title desc">',
                f'<title id="title">{escape(self.title)}</title>',
                f'<desc id="desc">{escape(description)}</desc>',
                f"<style>{STYLE}{colours(0)}\n{dark}\n</style>",
                f'<rect {card} class="ground edge-line"/>',
                *self._shapes,
                "</svg>\n",
            ]
        )


class Log:
    """A logarithmic scale from `low` to `high` over so many pixels, which may run upwards."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def at(self, value: float) -> float:
        part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, steps: tuple[int, ...] = (1, 2, 5)) -> list[float]:
        powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        found = [step * 10.0**power for power in powers for step in steps]
        return [tick for tick in found if self.low * 0.999 <= tick <= self.high * 1.001]


class Linear:
    """A scale from 0 to a round number at or above `high`."""

    def __init__(self, high: float, start: float, end: float) -> None:
        self.step = next(step for step in _round_numbers() if high <= 3 * step)
        self.high, self.start, self.end = math.ceil(high / self.step) * self.step, start, end

    def at(self, value: float) -> float:
        return self.start + max(value, 0.0) / self.high * (self.end - self.start)

    def ticks(self) -> list[float]:
        return [self.step * number for number in range(round(self.high / self.step) + 1)]


def _round_numbers() -> list[float]:
    return [step * 10.0**power for power in range(-3, 9) for step in (1, 2, 5)]
