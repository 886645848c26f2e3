"""What a run found, as JSON and back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from .jobs import JOBS
from .model import Job, Side
from .run import Row, Skipped


@dataclass(frozen=True)
class Results:
    facts: dict[str, Any]
    rows: list[Row]
    skips: list[Skipped]


def as_json(results: Results) -> dict[str, Any]:
    return {
        "facts": results.facts,
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
            for row in results.rows
        ],
        "skipped": [
            {"job": skip.job.name, "side": skip.side.name, "reason": skip.reason}
            for skip in results.skips
        ],
    }


def from_json(data: dict[str, Any]) -> Results:
    """Titles, notes and goals are those that the jobs have now, the figures those of then."""
    rows = [
        Row(
            job := job_called(row["job"]), row["figure"], row["ours"], peer(job, row), row["theirs"]
        )
        for row in data["rows"]
    ]
    skips = [
        Skipped(job := job_called(skip["job"]), side_called(job, skip["side"]), skip["reason"])
        for skip in data["skipped"]
    ]
    return Results(data["facts"], rows, skips)


def job_called(name: str) -> Job:
    for job in JOBS:
        if job.name == name:
            return job
    raise ValueError(f"no job is called {name!r} any more: measure again")


def side_called(job: Job, name: str) -> Side:
    for side in job.sides():
        if side.name == name:
            return side
    raise ValueError(f"{job.name} has no side {name!r} any more: measure again")


def peer(job: Job, row: dict[str, Any]) -> Side | None:
    if row["peer"] is None:
        return None
    side = side_called(job, row["peer"])
    had_goal = row["goal"] is not None
    return replace(side, goal=side.goals.get(row["figure"], side.goal) if had_goal else None)
