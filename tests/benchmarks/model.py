"""What a job is: data. `jobs.py` lists them, `run.py` runs any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .measures import Measure


@dataclass(frozen=True)
class Side:
    """An app of `apps` (or nginx), and what ours is to reach against it.

    `goal` is a factor on the job's first figure, `goals` are those on others by their name. `share`
    is the part of the work that this side does, `called` its name where that is not the app's. A
    `floor` is a bare ASGI app that sends the same bytes: what the server and the content cost.
    """

    app: str
    goal: float | None = None
    share: float = 1.0
    called: str = ""
    floor: bool = False
    goals: Mapping[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        if self.floor:
            return "bare ASGI (floor)"
        return self.called or self.app.rpartition(":")[2].replace("_", "-")


@dataclass(frozen=True)
class Job:
    """One row of the table, or one for each peer and figure.

    `url` may hold `{n}`, the amount of work (default: `/<name>/{n}`); a `<size>.bin` in it is a
    sample file that exists by then. `same` says what the warm-up compares of both bodies; None
    where they have no end or cannot be equal. `limits` are absolute goals of ours. `quick` and
    `warm_up` are parts of the amount. Memory is measured on a server that has done nothing yet:
    `fresh` starts one for each round.
    Without `warm_up` the measure sees to it. `label` names the job where there is little room,
    and `note` says what a reader has to know who compares the sides.
    """

    name: str
    title: str
    measure: Measure
    amount: int
    ours: str
    peers: tuple[Side, ...] = ()
    url: str = ""
    headers: str = ""
    limits: Mapping[str, float] = field(default_factory=dict)
    rounds: int = 5
    quick: float = 0.05
    warm_up: float | None = 0.02
    same: Callable[[bytes], Any] | None = bytes
    fresh: bool = False
    label: str = ""
    note: str = ""

    @property
    def group(self) -> str:
        return self.ours.partition(":")[0]

    def sides(self) -> tuple[Side, ...]:
        return (*self.peers, Side(self.ours))

    def url_for(self, n: int) -> str:
        return (self.url or f"/{self.name}/{{n}}").format(n=n)
