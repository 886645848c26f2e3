"""What a log has to offer: named, ordered, bounded streams of records.

A log keeps two kinds of streams. A *run* has one producer, which is elected, and an end. A
*channel* has any number of publishers, and keeps its newest records only.

Ids are `str`, opaque to everybody else: sortable, never given twice, without NUL, CR and LF. Each
stream also has an *origin*, an id that comes before that of its first record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from streamkit.live.records import Payload, Record

__all__ = ["FIRST", "WINDOW", "Info", "Log", "Sink"]

# The least number of records a channel keeps: one wake-up of its readers may come with as many.
WINDOW = 1024
# Seconds that `start`, `follow` and `state` wait for a log before they are a 503.
FIRST = 3.0


@dataclass(frozen=True, slots=True)
class Info:
    """A run or channel as it is now."""

    origin: str
    """The id before the first record."""
    last: str
    """The id of the newest item, or the origin."""
    end: Record | None = None
    """How a run ended."""
    linger: float | None = None
    """What its producer said to `begin`."""


class Sink(Protocol):
    """Takes the records of one stream as they come; called on the loop's thread."""

    def feed(self, records: Sequence[Record]) -> None:
        """More records, in order, none left out; one may come again."""

    def miss(self, position: str) -> None:
        """A channel's records are missing before the next ones, which come after `position`."""

    def fail(self, error: Exception) -> None:
        """The log has failed: nothing more comes."""


@runtime_checkable
class Log(Protocol):
    """Where `Live` keeps its streams; write one for another engine, and test it with `check_log`.

    All methods are called on the loop's thread. Where the engine doesn't answer, they wait and
    retry, up to a timeout of the log's own, then raise `LogUnavailable`. Times are in seconds.
    """

    remote: bool
    """Whether other processes use the same streams: leases are renewed and watched then."""

    async def open(self) -> None:
        """Begin; called once before anything else, and again after `aclose`."""

    async def aclose(self) -> None:
        """Let go of connections and subscriptions, not of the data."""

    async def begin(
        self, run: str, *, ttl: float, lease: float, linger: float | None
    ) -> str | None:
        """Create a run, unless there is one of that name; its origin, for its one producer.

        A run expires `ttl` seconds after its last sign of life, data and state together.
        """
        ...

    async def append(self, run: str, number: int, payloads: Sequence[Payload]) -> list[str]:
        """Append items to a run that `begin` gave to this log; `number` were appended before.

        Raises `RunEnded` once the run has an end, whoever wrote it.
        """
        ...

    async def end(self, run: str, payload: Payload, *, ttl: float) -> Record | None:
        """End a run, which expires `ttl` seconds later; the first end stands, and is given.

        None if there is no such run.
        """
        ...

    async def publish(
        self,
        channel: str,
        payloads: Sequence[Payload],
        *,
        keep: int,
        max_age: float | None,
        ttl: float,
    ) -> list[str]:
        """Append to a channel, which keeps its newest `keep` records."""
        ...

    async def info(self, stream: str, *, channel: bool = False) -> Info | None:
        """What there is of a stream; None for an unknown run."""
        ...

    async def oldest(self, channel: str, history: int, max_age: float | None) -> str:
        """The id after which come the newest `history` records that aren't older."""
        ...

    async def read(
        self, stream: str, after: str, limit: int, *, channel: bool = False
    ) -> list[Record]:
        """At most `limit` records strictly after an id; empty if there are none yet.

        Raises `Gone` if it is not an id of this stream, or records after it are gone.
        """
        ...

    async def subscribe(
        self, stream: str, after: str, sink: Sink, *, channel: bool = False
    ) -> Callable[[], None]:
        """Feed a sink all records after an id, until the function that is given is called."""
        ...

    async def renew(self, run: str, *, ttl: float, lease: float) -> None:
        """Its producer lives."""

    async def is_alive(self, run: str, *, lease: float) -> bool:
        """Whether the producer renewed its lease in time, as far as can be known."""
        ...

    async def attend(self, run: str, *, lease: float) -> None:
        """A reader is here, for a lease."""

    async def is_attended(self, run: str) -> bool:
        """Whether any process said so within a lease."""
        ...
