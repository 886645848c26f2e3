"""Streams that outlive a connection, and one stream for many: in memory, or over Redis.

    live.py      Live: start, follow, cancel, state, channel
    run.py       Run, and how one begins
    content.py   what `start` takes
    channel.py   Channel: publish, follow
    follow.py    Follow: the content of a reader's response
    place.py     where a reader begins
    reader.py    how it takes records; body.py how its response sends them
    producer.py  drives a run's content and appends its items
    core.py      what they share; keeper.py leases and lingering
    tail.py      the newest records of a stream, shared by all its readers in this process
    formats.py   records as events and lines
    records.py   items as a log keeps them
    log.py       Log: what an engine has to offer
    memory.py    MemoryLog; memory_stream.py one stream in it
    redis.py     RedisLog: runs; redis_channels.py its channels, redis_client.py its commands
    wire.py      the connection that pipelines, and link.py the one that blocks
    checks.py    what arguments must be
    router.py    the routes

Nothing of this is imported with `streamkit` itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamkit.live.channel import Channel
from streamkit.live.errors import (
    Gone,
    LogUnavailable,
    RunEnded,
    RunFailed,
    SlowReader,
    StreamGap,
    UnknownStream,
)
from streamkit.live.follow import Follow
from streamkit.live.live import Live
from streamkit.live.log import Info, Log, Sink
from streamkit.live.memory import MemoryLog
from streamkit.live.records import Payload, Record
from streamkit.live.run import Run

if TYPE_CHECKING:
    from streamkit.live.redis import RedisLog

__all__ = [
    "Channel",
    "Follow",
    "Gone",
    "Info",
    "Live",
    "Log",
    "LogUnavailable",
    "MemoryLog",
    "Payload",
    "Record",
    "RedisLog",
    "Run",
    "RunEnded",
    "RunFailed",
    "Sink",
    "SlowReader",
    "StreamGap",
    "UnknownStream",
]


def __getattr__(name: str) -> Any:
    # It needs the `redis` package, which not everybody has.
    if name == "RedisLog":
        from streamkit.live.redis import RedisLog

        return RedisLog
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
