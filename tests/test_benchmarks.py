"""The report of the benchmarks, drawn from figures that are given: nothing is measured here."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any, Self
from xml.etree import ElementTree

import pytest

from tests.benchmarks import __main__ as program
from tests.benchmarks import readme, wrk
from tests.benchmarks import run as runner
from tests.benchmarks.apps.bare import stream_floor, until_disconnect
from tests.benchmarks.charts.bars import bars
from tests.benchmarks.charts.growth import growth
from tests.benchmarks.charts.svg import Linear, Log
from tests.benchmarks.client import ClientError
from tests.benchmarks.jobs import JOBS
from tests.benchmarks.model import Job, Side
from tests.benchmarks.report import cells
from tests.benchmarks.results import Results, as_json, from_json
from tests.benchmarks.samples import DIRECTORY, make_samples, middle
from tests.benchmarks.servers import Server

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
        row("small-async", "requests/s", "bare ASGI (floor)", [16000], [4000]),
        row("trickle-async", "µs/item", "starlette", [20.0], [30.0], 1.0),
        row("trickle-async", "µs/item", "bare ASGI (floor)", [15.0], [30.0]),
        row("latency-sync", "p99 ms", "starlette", [1.0], [7.0]),
        row("memory-path", "MiB", None, None, [0.8]),
        row("zip", "MB/s", "stream-zip", [80.0], [120.0], 1.2),
        row("idle-events", "KiB/stream", "sse-starlette", [40.0], [26.0], 0.7),
        row("idle-events", "KiB/stream", "fastapi.sse", [50.0], [26.0], 0.6),
        row("growth-async-10", "/ping p99 ms", "starlette", [0.5], [0.6]),
        row("growth-async-10000", "/ping p99 ms", "starlette", [4.0], [6.0], 1.5),
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


def test_the_readme_shows_the_first_peer_of_selected_jobs(results: Results, tmp_path: Path) -> None:
    path = tmp_path / "README.md"
    path.write_text("before\n<!-- benchmarks -->\nold\n<!-- /benchmarks -->\nafter\n")

    readme.write(path, results.rows)

    lines = path.read_text(encoding="utf-8").splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert [line.split(" | ")[1] for line in lines[4:-2]] == [
        "starlette",
        "starlette",
        "starlette",
        "sse-starlette",
    ]
    assert "255 x" in lines[4]
    assert set(readme.SELECTED) <= {job.name for job in JOBS}


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


def test_a_floor_is_in_the_table_and_not_in_the_chart(results: Results) -> None:
    floors = [row for row in results.rows if row.peer and row.peer.floor]

    assert [cells(row, "")[1] for row in floors] == ["bare ASGI (floor)"] * 2
    assert not any("floor" in said for said in words(bars(results)))


def test_processor_time_is_compared_and_memory_of_the_whole_process_is_not(
    results: Results,
) -> None:
    shown = {(row.job.name, row.figure): cells(row, "")[5] for row in results.rows}

    assert shown["trickle-async", "µs/item"] == "2 x"  # of the last: the floor
    assert shown["idle-events", "KiB/stream"] == "0.52 x"
    assert shown["memory-path", "MiB"] == shown["latency-sync", "p99 ms"] == "-"


def test_a_goal_on_a_later_figure_is_kept_in_json(results: Results) -> None:
    ping = next(row for row in results.rows if row.goal == 1.5)

    assert (ping.figure, ping.reached) == ("/ping p99 ms", True)


class FakeServer(Server):
    """Ends without a process to wait for."""

    started = 0

    def __init__(self) -> None:
        type(self).started += 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("fresh", "servers"), [(True, 2 * (1 + 3)), (False, 2)])
def test_memory_is_measured_on_a_server_that_has_done_nothing(
    monkeypatch: pytest.MonkeyPatch, fresh: bool, servers: int
) -> None:
    figures = iter([10.0, 5.0] * 3)
    job = Job(
        "idle",
        "idle",
        lambda server, url, n: {"KiB/stream": next(figures), "threads": 2.0},
        1,
        "core:streamkit",
        (Side("core:starlette", 0.9, goals={"threads": 1.5}),),
        rounds=3,
        warm_up=None,
        same=None,
        fresh=fresh,
    )
    monkeypatch.setattr(runner, "start", lambda app: FakeServer())
    monkeypatch.setattr(FakeServer, "started", 0)

    memory, threads = runner.run(job, None, 1)

    assert FakeServer.started == servers
    assert isinstance(memory, runner.Row)
    assert isinstance(threads, runner.Row)
    assert (memory.ratios, memory.goal, threads.goal) == ([0.5] * 3, 0.9, 1.5)


WRK = """Running 2s test @ http://127.0.0.1:8000/small-async
  Latency     1.20ms    0.20ms
  48690 requests in 2.01s, 12.3MB read
Requests/sec:  24223.88
"""


def test_what_wrk_says_is_read() -> None:
    assert wrk.parsed(WRK) == (48690, 2.01)


@pytest.mark.parametrize(
    "said",
    [
        WRK + "  Non-2xx or 3xx responses: 3",
        WRK + "  Socket errors: connect 0, read 2, write 0, timeout 0",
        "unable to connect to 127.0.0.1:8000 Connection refused",
        "  0 requests in 2.01s, 0B read",
        "",
    ],
)
def test_requests_that_failed_are_no_figure(said: str) -> None:
    with pytest.raises(ClientError, match="wrk: "):
        wrk.parsed(said)


def test_a_floor_without_an_end_stops_when_its_client_leaves() -> None:
    closed: list[str] = []

    async def endless() -> Any:
        try:
            while True:
                await asyncio.sleep(0)
                yield b"tick\n"
        finally:
            closed.append("content")

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        pass  # as a server does once the client is gone

    app = until_disconnect(stream_floor(endless))
    asyncio.run(asyncio.wait_for(app({"type": "http"}, receive, send), 10))

    assert closed == ["content"]


def test_a_sparse_sample_has_bytes_in_its_middle_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(DIRECTORY, str(tmp_path))
    size = 1 << 24

    make_samples(f"/sparse/{size}.bin")

    path = tmp_path / "sparse" / f"{size}.bin"
    first, last = middle(size)
    content = path.read_bytes()
    assert len(content) == size
    assert any(content[first : last + 1])
    assert not any(content[:first])
    assert not any(content[last + 1 :])
