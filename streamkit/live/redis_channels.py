"""The channels of `RedisLog`: streams whose ids Redis gives."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import count
from time import monotonic
from typing import Any

from streamkit.live.records import Payload
from streamkit.live.redis_client import RedisClient
from streamkit.live.redis_ids import floor_of, milliseconds, show
from streamkit.live.wire import Command

__all__ = ["RedisChannels"]

# Newest records among which one is looked for that may have been appended before.
NEWEST = 4096
# Channels of which is known when they were trimmed.
TRIMMED = 1024


class RedisChannels(RedisClient):
    """Publishes, and finds what there is of a channel."""

    def __init__(
        self, url_or_client: Any, *, prefix: str = "streamkit:", timeout: float = 30.0
    ) -> None:
        super().__init__(url_or_client, prefix=prefix, timeout=timeout)
        self._numbers = count(1)
        # When each channel with a `max_age` was trimmed last.
        self._trimmed: dict[str, float] = {}

    async def publish(
        self,
        channel: str,
        payloads: Sequence[Payload],
        *,
        keep: int,
        max_age: float | None,
        ttl: float,
    ) -> list[str]:
        key = self._channel_key(channel)
        tokens = [f"{self._process}-{next(self._numbers)}" for _ in payloads]
        left = {
            token: ("XADD", key, "MAXLEN", keep, "*", *payload, "t", token)
            for token, payload in zip(tokens, payloads, strict=True)
        }
        after = ("PEXPIRE", key, milliseconds(max(ttl, max_age or 0)))
        ids: dict[str, str] = {}

        async def find() -> None:
            """Take out those that were appended before the connection broke."""
            assert self._wire is not None
            most = ("XREVRANGE", key, "+", "-", "COUNT", min(keep, NEWEST))
            (there,) = await self._wire.call([most], self._timeout)
            for raw, fields in there:
                token = fields[3].decode()
                if left.pop(token, None):
                    ids[token] = show(raw)

        def commands() -> list[Command]:
            return [*left.values(), after]

        replies = await self._ask(commands, before_again=find)
        for token, reply in zip(tuple(left), replies, strict=False):
            ids[token] = show(reply)
        if max_age is not None:
            self._trim(key, int(ids[tokens[-1]][:13]), max_age)
        return [ids[token] for token in tokens]

    def _trim(self, key: str, now: int, max_age: float) -> None:
        """Drop what is old by Redis' clock, from time to time; this process may have another."""
        oldest = now - 2 * milliseconds(max_age) - 1000
        if oldest < 0 or monotonic() - self._trimmed.get(key, -math.inf) <= 1:
            return
        if len(self._trimmed) >= TRIMMED:
            self._trimmed.clear()
        self._trimmed[key] = monotonic()
        if self._wire is not None:
            self._wire.post([("XTRIM", key, "MINID", "~", oldest)])

    async def oldest(self, channel: str, history: int, max_age: float | None) -> str:
        key = self._channel_key(channel)
        now, about = await self._ask([("TIME",), ("XINFO", "STREAM", key)])
        floor, size = floor_of(about)
        extra = size - history
        asked: list[Command] = []
        if extra > 0:
            asked.append(
                ("XRANGE", key, "-", "+", "COUNT", extra)
                if extra <= history + 1
                else ("XREVRANGE", key, "+", "-", "COUNT", history + 1)
            )
        if max_age is not None:
            oldest = int(now[0]) * 1000 + int(now[1]) // 1000 - milliseconds(max_age)
            asked.append(("XREVRANGE", key, max(oldest, 0), "-", "COUNT", 1))
        for entries in await self._ask(asked) if asked else ():
            if entries:
                floor = max(floor, show(entries[-1][0]))
        return floor
