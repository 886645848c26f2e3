"""Rows as aligned text, as Markdown and as JSON."""

from __future__ import annotations

import os
import platform
import re
import shutil
import statistics
import subprocess
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .run import Row, Skipped

PACKAGES = [
    "streamkit",
    "starlette",
    "fastapi",
    "anyio",
    "pydantic",
    "uvicorn",
    "uvloop",
    "httptools",
]
PACKAGES += ["sse-starlette", "stream-zip", "zipstream-ng"]
HEADINGS = ["job", "peer", "unit", "peer's", "ours", "ratio", "range", "goal", "reached"]


def number(value: float) -> str:
    for size, suffix in ((1e6, " M"), (1e4, " k")):
        if abs(value) >= size:
            return f"{value / (1e3 if suffix == ' k' else size):.3g}{suffix}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def cells(row: Row, job: str) -> list[str]:
    sign = "≥" if row.more_is_better else "≤"
    peer = row.peer.name if row.peer else "-"
    if row.peer and row.peer.share < 1:
        peer += f" ({Fraction(row.peer.share).limit_denominator(100)} of the work)"
    shown = row.ratios if row.more_is_better or row.goal else []
    goals = [f"{sign} {row.goal:g} x"] if row.goal else []
    goals += [f"≤ {row.limit:g}"] if row.limit is not None else []
    return [
        job,
        peer,
        row.figure,
        number(statistics.median(row.theirs)) if row.theirs else "-",
        number(statistics.median(row.ours)),
        f"{number(statistics.median(shown))} x" if shown else "-",
        f"{number(min(shown))} .. {number(max(shown))}" if shown else "-",
        ", ".join(goals) or "-",
        ("yes" if row.reached else "NO") if goals else "-",
    ]


def text(rows: list[Row]) -> str:
    lines = [HEADINGS, *(cells(row, row.job.name) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(rows: list[Row]) -> str:
    lines = [HEADINGS[:-1], ["---"] * (len(HEADINGS) - 1)]
    lines += [cells(row, row.job.title)[:-1] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def skipped(skips: list[Skipped]) -> str:
    return "\n".join(f"{skip.job.name}: {skip.side.name} skipped: {skip.reason}" for skip in skips)


def facts() -> dict[str, Any]:
    """What the figures were measured on, without anything that names the machine."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    if nginx := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
        if found := re.search(r"nginx/(\S+)", said):
            versions["nginx"] = found[1]
    return {
        "cores": os.cpu_count(),
        "system": platform.system(),
        "machine": platform.machine(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions,
    }


def as_json(rows: list[Row], skips: list[Skipped]) -> dict[str, Any]:
    return {
        "facts": facts(),
        "rows": [
            {
                "job": row.job.name,
                "title": row.job.title,
                "figure": row.figure,
                "peer": row.peer.name if row.peer else None,
                "peer_share": row.peer.share if row.peer else None,
                "theirs": row.theirs,
                "ours": row.ours,
                "ratios": row.ratios,
                "goal": row.goal,
                "limit": row.limit,
                "reached": row.reached,
            }
            for row in rows
        ],
        "skipped": [
            {"job": skip.job.name, "side": skip.side.name, "reason": skip.reason} for skip in skips
        ],
    }
