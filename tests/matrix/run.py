"""Runs cells: a process for each server, many clients at once."""

from __future__ import annotations

import json
import queue
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import uuid4

from tests.matrix.cells import Cell
from tests.matrix.client import HANG, NOT_CLOSED, ask
from tests.matrix.servers import PROCESSES, SERVERS
from tests.matrix.stacks import codings_of
from tests.matrix.ways import STALLS, WAYS
from tests.server import Server, serving

# Seconds for which a client stalls: until its stream has ended and this much more, or at most that.
AFTER, AT_MOST = 1.5, 4.0
# Seconds in which a content must be closed once its client has seen the end.
CLOSING = 10.0


@dataclass(frozen=True)
class Result:
    """A cell's verdict, what it rests on, and what `on_close` was told."""

    cell: Cell
    verdict: str
    detail: str
    told: str = ""


def run(
    cells: Sequence[Cell], *, jobs: int, servers: int = 1, until: float = float("inf")
) -> Iterator[Result]:
    """The results, as they come, of `jobs` clients at once for each of `servers` at once.

    Cells whose turn comes after `until` are left out.
    """
    results: queue.Queue[Result | None] = queue.Queue()
    batches = [
        [
            cell
            for cell in cells
            if SERVERS[cell.server].process == process and WAYS[cell.way].signal == by_signal
        ]
        for process in PROCESSES
        for by_signal in (False, True)
    ]
    waiting = [batch for batch in batches if batch]

    def work() -> None:
        try:
            _together(
                waiting, servers, until, lambda batch: _run_batch(batch, results.put, jobs, until)
            )
        finally:
            results.put(None)

    threading.Thread(target=work, daemon=True).start()
    while (result := results.get()) is not None:
        yield result


def _run_batch(
    batch: Sequence[Cell], report: Callable[[Result], None], jobs: int, until: float
) -> None:
    process = SERVERS[batch[0].server].process
    if WAYS[batch[0].way].signal:
        for start in range(0, len(batch), 2 * jobs):
            if monotonic() < until:
                _shut_down(process, batch[start : start + 2 * jobs], report)
        return
    with _serving(process) as server:
        _together(batch, jobs, until, lambda cell: report(_Run(server, cell)()))
        if server.process.poll() is not None:
            print(f"{process} has ended by itself: {server.log()[-3000:]}")


def _shut_down(process: str, batch: Sequence[Cell], report: Callable[[Result], None]) -> None:
    """Open all of them on one server, and have it shut down."""
    with _serving(process) as server:
        runs = [_Run(server, cell) for cell in batch]

        def terminate() -> None:
            given_up = monotonic() + AT_MOST
            while monotonic() < given_up and not all(run.ripe() for run in runs):
                time.sleep(0.1)
            server.process.send_signal(signal.SIGTERM)
            for run in runs:
                run.signalled = monotonic()

        thread = threading.Thread(target=terminate)
        thread.start()
        _together(runs, len(runs), float("inf"), lambda run: report(run()))
        thread.join()


def _together(work: Sequence[Any], jobs: int, until: float, do: Callable[[Any], None]) -> None:
    left = iter(work)
    lock = threading.Lock()

    def worker() -> None:
        while monotonic() < until:
            with lock:
                item = next(left, None)
            if item is None:
                return
            do(item)

    threads = [threading.Thread(target=worker, daemon=True) for _ in range(min(jobs, len(work)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _serving(process: str) -> Iterator[Server]:
    """A server that has answered once, since some import late.

    A client's socket may take the port that a server was to have: then it gets another.
    """
    with ExitStack() as stack:
        for attempt in range(3):
            try:
                server = stack.enter_context(serving(PROCESSES[process]))
                _get(server, "/ping")
                assert server.process.poll() is None
                break
            except (AssertionError, OSError):
                if attempt == 2:
                    raise
        yield server


def _get(server: Server, path: str) -> Any:
    url = f"http://127.0.0.1:{server.port}{path}"
    with urllib.request.urlopen(url, timeout=5) as answer:
        return json.load(answer)


class _Run:
    """One cell on its server."""

    def __init__(self, server: Server, cell: Cell) -> None:
        self._server = server
        self._cell = cell
        self._key = uuid4().hex
        self._by_signal = WAYS[cell.way].signal
        self.signalled: float | None = None

    def __call__(self) -> Result:
        cell = self._cell
        kind = "honest" if cell.honest else "plain"
        path = f"/cell/{kind}/{cell.stack}/{cell.way}/{cell.client}/{cell.offset}/{self._key}"
        try:
            ending = ask(
                self._server.port,
                SERVERS[cell.server].protocol,
                path,
                codings_of(cell.stack),
                stall=self._stall if cell.client == STALLS else None,
                returned=self._returned,
            )
        except Exception as exc:
            return Result(cell, "ERROR", repr(exc))
        verdict, detail = ending.verdict()
        if self._by_signal:
            return Result(cell, verdict, detail)
        state = self._closed()
        told = " ".join(state["told"])
        if not _is_closed(state):
            detail = f"{verdict}; closed {state['closes']} times, on_close was told {told!r}"
            verdict = verdict if verdict == HANG else NOT_CLOSED
        return Result(cell, verdict, detail, told)

    def ripe(self) -> bool:
        state = self._state()
        return state is not None and state["ripe"]

    def _state(self) -> Any:
        try:
            return _get(self._server, f"/state/{self._key}")
        except OSError:
            return None

    def _stall(self) -> None:
        """Take nothing until the stream has ended on the other side, and a while longer."""
        latest = monotonic() + AT_MOST
        if self._by_signal:
            while self.signalled is None:
                time.sleep(0.1)
            time.sleep(AFTER + 1)
            return
        while monotonic() < latest:
            state = self._state()
            if state is not None and (state["ripe"] or state["ended"] is not False):
                time.sleep(AFTER)
                return
            time.sleep(0.3)

    def _returned(self) -> bool:
        if self._by_signal:
            return False
        state = self._state()
        return state is not None and state["ended"] is not False and state["ended"] > 1

    def _closed(self) -> Any:
        given_up = monotonic() + CLOSING
        while True:
            state = self._state()
            if state is not None and _is_closed(state):
                return state
            if monotonic() > given_up:
                return state or {"opens": 0, "closes": "an unknown number of", "told": []}
            time.sleep(0.1)


def _is_closed(state: Any) -> bool:
    """Whether the content was closed, if it was begun, and `on_close` was told once."""
    return state["closes"] == state["opens"] < 2 and len(state["told"]) == 1
