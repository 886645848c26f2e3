"""Runs a job: every side in turn, round after round, on servers that live as long as the job."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from . import client
from .measures import Figures
from .model import Job, Side
from .samples import make_samples
from .servers import Server, Unavailable, start

T = TypeVar("T")

FAILURES = (Unavailable, OSError)


@dataclass(frozen=True)
class Row:
    """A line of the table: one figure of ours beside one peer's; raw values in order of rounds."""

    job: Job
    figure: str
    ours: list[float]
    peer: Side | None = None
    theirs: list[float] | None = None

    @property
    def more_is_better(self) -> bool:
        return self.figure.endswith("/s")

    @property
    def is_compared(self) -> bool:
        """What is counted for each item, request or stream, and what has a goal."""
        return self.more_is_better or "/" in self.figure.split(" ")[-1] or self.goal is not None

    @property
    def ratios(self) -> list[float]:
        pairs = zip(self.ours, self.theirs or [], strict=False)
        return [ours / theirs for ours, theirs in pairs if theirs > 0]

    @property
    def our_median(self) -> float:
        return statistics.median(self.ours)

    @property
    def their_median(self) -> float | None:
        return statistics.median(self.theirs) if self.theirs else None

    @property
    def ratio(self) -> float | None:
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def goal(self) -> float | None:
        """The factor to reach against the peer."""
        return self.peer.goal if self.peer else None

    @property
    def limit(self) -> float | None:
        return self.job.limits.get(self.figure)

    @property
    def reached(self) -> bool:
        kept = self.limit is None or self.our_median <= self.limit
        if self.goal is None or self.ratio is None:
            return kept
        return kept and (
            self.ratio >= self.goal if self.more_is_better else self.ratio <= self.goal
        )


@dataclass(frozen=True)
class Skipped:
    job: Job
    side: Side
    reason: str


class Contender:
    """A side of a job with its server running."""

    def __init__(self, job: Job, side: Side, server: Server, scale: float) -> None:
        self.job, self.side, self.server = job, side, server
        self.amount = max(1, round(job.amount * scale * side.share))
        self.warm_up_amount = max(2, round(job.amount * scale * (job.warm_up or 0)))
        self.results: list[Figures] = []

    def ask(self, n: int, do: Callable[[str], T]) -> T:
        """`do` with the URL for so much work; a failure tells what the server logged of it."""
        try:
            return do(make_samples(self.job.url_for(n)))
        except client.ClientError as error:
            time.sleep(0.2)  # a server logs an exception after it has answered
            said = self.server.last_words()
            raise Unavailable(f"{error}: {said}" if said else str(error)) from error

    def body(self) -> bytes:
        address, headers = self.server.address, self.job.headers
        return self.ask(self.warm_up_amount, lambda url: client.fetch(address, url, headers))

    def fresh_figures(self) -> Figures:
        """On a server that has done nothing yet."""
        with start(self.side.app) as self.server:
            return self.figures(self.amount)

    def round(self) -> Figures:
        return self.fresh_figures() if self.job.fresh else self.figures(self.amount)

    def figures(self, amount: int) -> Figures:
        return self.ask(amount, lambda url: self.job.measure(self.server, url, amount))


def run(job: Job, rounds: int | None, scale: float) -> Iterator[Row | Skipped]:
    """A side that cannot take part is skipped with what it said; without ours there is no row."""
    contenders: list[Contender] = []
    with ExitStack() as running:
        for side in job.sides():
            try:
                contender = Contender(job, side, running.enter_context(start(side.app)), scale)
                warm_up(contender, contenders)
            except FAILURES as error:
                yield Skipped(job, side, str(error))
            else:
                contenders.append(contender)
        if not contenders or contenders[-1].side.app != job.ours:
            return
        for _ in range(rounds or job.rounds):
            for contender in list(contenders):
                try:
                    contender.results.append(contender.round())
                except FAILURES as error:
                    yield Skipped(job, contender.side, str(error))
                    if contender.side.app == job.ours:
                        return
                    contenders.remove(contender)
    yield from rows(job, contenders)


def warm_up(contender: Contender, others: list[Contender]) -> None:
    """Every path is taken once, and both sides are shown to do the same work."""
    same = contender.job.same
    if same and others and same(others[0].body()) != same(contender.body()):
        raise Unavailable(f"its body differs from that of {others[0].side.name}")
    if contender.job.warm_up is not None:
        contender.figures(contender.warm_up_amount)


def rows(job: Job, contenders: list[Contender]) -> Iterator[Row]:
    *peers, ours = contenders
    for number, figure in enumerate(ours.results[0]):
        values = [result[figure] for result in ours.results]
        for peer in peers:
            theirs = [result[figure] for result in peer.results]
            goal = peer.side.goals.get(figure, peer.side.goal if number == 0 else None)
            side = replace(peer.side, goal=goal)
            yield Row(job, figure, values, side, theirs)
        if not peers:
            yield Row(job, figure, values)
