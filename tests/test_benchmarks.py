"""The report of the benchmarks, drawn from figures that are given: nothing is measured here."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks.charts.bars import bars
from tests.benchmarks.charts.growth import growth
from tests.benchmarks.charts.svg import Linear, Log
from tests.benchmarks.jobs import JOBS
from tests.benchmarks.results import Results, as_json, from_json

SVG = "{http://www.w3.org/2000/svg}"
FACTS = {
    "command": "python -m tests.benchmarks",
    "date": "2030-01-02",
    "processor": "Some Processor <2>",
    "cores": 2,
    "machine": "x86_64",
    "memory": 8 << 30,
    "system": "Linux 6.1",
    "python": "CPython 3.11.0",
    "versions": {"streamkit": "1.2.3", "starlette": "1.10.0"},
}


def row(job: str, figure: str, peer: str | None, theirs: Any, ours: Any, goal: Any = None) -> Any:
    return {
        "job": job,
        "figure": figure,
        "peer": peer,
        "theirs": theirs,
        "ours": ours,
        "goal": goal,
    }


DATA: dict[str, Any] = {
    "facts": FACTS,
    "rows": [
        row("sync-lines", "lines/s", "starlette", [1e4, 1e4], [2.5e6, 2.6e6], 80),
        row("small-async", "requests/s", "starlette", [5000, 5000], [4000, 4100], 1),
        row("latency-sync", "p99 ms", "starlette", [1.0], [7.0]),
        row("memory-path", "MiB", None, None, [0.8]),
        row("zip", "MB/s", "stream-zip", [80.0], [120.0], 1.2),
        row("idle-events", "KiB/stream", "sse-starlette", [40.0], [26.0], 0.7),
        row("idle-events", "KiB/stream", "fastapi.sse", [50.0], [26.0], 0.6),
        row("growth-async-10", "/ping p99 ms", "starlette", [0.5], [0.6]),
        row("growth-async-10000", "/ping p99 ms", "starlette", [4.0], [6.0]),
        row("growth-async-10000", "KiB/stream", "starlette", [23.0], [24.0]),
        row("growth-sync-10000", "chunks/s", "starlette", [40.0], [256.0]),
    ],
    "skipped": [{"job": "growth-events-10000", "side": "fastapi.sse", "reason": "it was too slow"}],
}


@pytest.fixture
def results() -> Results:
    return from_json(DATA)


def words(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter()]


def test_figures_are_the_same_after_json_and_back(results: Results) -> None:
    assert from_json(json.loads(json.dumps(as_json(results)))) == results


def test_figures_of_a_job_that_is_gone_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'no-such-job'.*measure again"):
        from_json({**DATA, "rows": [row("no-such-job", "lines/s", None, None, [1.0])]})


@pytest.mark.parametrize("draw", [bars, growth])
def test_a_chart_is_described_and_has_colours_for_light_and_dark(
    results: Results, draw: Any
) -> None:
    svg = draw(results)
    root = ElementTree.fromstring(svg)

    assert root.get("role") == "img"
    for name in root.attrib["aria-labelledby"].split():
        assert root.findtext(f"*[@id='{name}']")
    assert "Starlette" in root.findtext("*[@id='desc']", "")
    light, dark = (
        set(re.findall(r"\.([\w-]+) { (?:fill|stroke): #", style))
        for style in svg.split("@media (prefers-color-scheme: dark)")
    )
    assert light == dark
    for shape in root.iter():
        if classes := shape.get("class"):
            assert light & set(classes.split()), classes
    assert not re.search(r"href|url\(|<script", svg)


@pytest.mark.parametrize("draw", [bars, growth])
def test_a_chart_says_what_its_figures_were_measured_on(results: Results, draw: Any) -> None:
    said = "\n".join(words(draw(results)))

    for fact in ("2030-01-02", "Some Processor <2>", "8 GiB", "starlette 1.10.0", "python -m"):
        assert fact in said


def test_bars_begin_where_the_rates_are_equal_and_end_at_the_ratio(results: Results) -> None:
    root = ElementTree.fromstring(bars(results))
    drawn = [rect for rect in root.iter(f"{SVG}rect") if rect.get("class") in ("ours", "missed")][
        2:
    ]
    fast, slow, zipped = ((float(bar.get("x", 0)), float(bar.get("width", 0))) for bar in drawn)

    assert [bar.get("class") for bar in drawn] == ["ours", "missed", "ours"]
    assert fast[0] == zipped[0] == pytest.approx(slow[0] + slow[1], abs=0.2)
    assert fast[1] > zipped[1] > 0


def test_what_misses_its_goal_is_said_to(results: Results) -> None:
    said = words(bars(results))

    assert "≤ 5 ms, missed" in said
    assert "≤ 16 MiB" in said
    assert "sse-starlette 40, fastapi.sse 50" in said


def test_the_growth_chart_says_who_is_missing(results: Results) -> None:
    assert any("without fastapi.sse: it was too slow." in said for said in words(growth(results)))


def test_the_report_is_drawn_from_json_without_measuring(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, page = tmp_path / "figures.json", tmp_path / "page.md"
    source.write_text(json.dumps(DATA))
    monkeypatch.setattr(program, "measure", None)
    monkeypatch.setattr(sys, "argv", ["", "--from", str(source), "--report", str(page)])

    program.main()

    text = page.read_text(encoding="utf-8")
    assert "$ python -m tests.benchmarks --report page.md" in text
    assert "level 4" in next(line for line in text.splitlines() if "stream-zip" in line)
    assert "not to be quoted" not in text
    assert str(tmp_path) not in text
    pictures = set(re.findall(r"!\[.*\]\((.*)\)", text))
    assert pictures == {path.name for path in tmp_path.glob("*.svg")}
    assert len(pictures) == 2
    assert "sync-lines" in capsys.readouterr().out


def test_a_smoke_test_says_that_it_is_one(results: Results) -> None:
    quick = Results({**FACTS, "command": f"{FACTS['command']} --quick"}, results.rows, [])

    assert any("not to be quoted" in said for said in words(bars(quick)))


def test_scales_have_round_ticks_within_their_ends() -> None:
    assert Log(0.8, 400, 0, 100).ticks((1, 3)) == [1, 3, 10, 30, 100, 300]
    assert Log(1, 100, 0, 100).at(10) == pytest.approx(50)
    assert Linear(27, 100, 0).ticks() == [0, 10, 20, 30]
    assert Linear(27, 100, 0).at(15) == pytest.approx(50)


def test_jobs_have_names_of_their_own_and_labels_that_fit() -> None:
    names = [job.name for job in JOBS]

    assert len(set(names)) == len(names)
    for job in JOBS:
        assert job.group == "growth" or 0 < len(job.label) <= 42, job.name
