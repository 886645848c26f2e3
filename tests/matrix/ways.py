"""The ways out of a stream: what the content does, and what ends it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from streamkit import StreamingResponse

END = b"<END>"
READS, STALLS = "reads", "stalls"
# Bytes after which a content takes it that nothing will ever hold it up.
MOST = 6 << 20
# Seconds a send must wait until its client counts as stalled.
BLOCKED = 0.15
# What no middleware can compress.
NOISE = random.Random(5).randbytes(MOST + (1 << 20))

# What a content does, step by step: it yields bytes, sleeps seconds, blocks, or raises.
Step = bytes | float | Exception


class Broken(Exception):
    """What contents raise."""


@dataclass
class Exchange:
    """One request as the server's process knows it."""

    way: str
    stalls: bool
    offset: int
    # When the send to the server that is waiting now began.
    sending_since: float | None = None
    # When the content came to its ending.
    fired: float | None = None
    ended: float | None = None
    opens: int = 0
    closes: int = 0
    told: list[str] = field(default_factory=list)
    # The scope of the timeout around the response.
    scope: Any = None

    @property
    def blocked(self) -> float:
        """Seconds for which the server has not taken what was sent."""
        since = self.sending_since
        return 0.0 if since is None else monotonic() - since

    @property
    def ripe(self) -> bool:
        """Whether it is time for what ends the stream from outside."""
        fired = self.fired is not None and monotonic() - self.fired > 0.3
        return fired or (self.stalls and self.blocked > 3 * BLOCKED)


@dataclass(frozen=True)
class Way:
    """`ending`: the last steps. `timeout`: where one stands, and whether it raises."""

    ending: tuple[Step, ...]
    sync: bool = False
    timeout: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    clients: tuple[str, ...] = (READS, STALLS)
    # A signal to the server's process is what ends it.
    signal: bool = False


TICKS: tuple[Step, ...] = (b"tick\n", 0.05) * 400
WAYS: dict[str, Way] = {
    # For comparison: these must stay whole.
    "complete": Way((END,)),
    "complete-sync": Way((END,), sync=True),
    "error": Way((Broken("the content failed"),)),
    "error-sync": Way((Broken("the content failed"),), sync=True),
    # A client that reads never meets it.
    "send-timeout": Way((END,), options=(("send_timeout", 0.4),), clients=(STALLS,)),
    "cancel-inside": Way(TICKS, timeout="inside"),
    "cancel-raises": Way(TICKS, timeout="inside, raises"),
    "cancel-outside": Way(TICKS, timeout="outside"),
    "thread-lost": Way(
        (4.0, END), sync=True, timeout="inside", options=(("cleanup_timeout", 0.3),)
    ),
    "shutdown": Way(TICKS, signal=True),
    "shutdown-sync": Way(TICKS, sync=True, signal=True),
}
if hasattr(StreamingResponse, "item_timeout"):
    WAYS["item-timeout"] = Way((2.5, END), options=(("item_timeout", 0.3),))
    WAYS["item-timeout-sync"] = Way(
        (2.5, END), sync=True, options=(("item_timeout", 0.3), ("cleanup_timeout", 0.3))
    )


def script(exchange: Exchange) -> Iterator[Step]:
    """The steps of a content that meets its client's stall before it ends."""
    for _ in range(3):
        yield NOISE[:1000]
        yield 0.01
    if exchange.stalls:
        yield from _until_blocked(exchange)
    else:
        yield NOISE[: 70_000 + exchange.offset]
    exchange.fired = monotonic()
    yield from WAYS[exchange.way].ending


def _until_blocked(exchange: Exchange) -> Iterator[Step]:
    for position in range(0, MOST, 16384):
        began = monotonic()
        yield NOISE[position : position + 16384]
        if monotonic() - began > 3 * BLOCKED:
            # The content was held up itself; its client reads again.
            return
        waited = itertools.count()
        while 0 < exchange.blocked < BLOCKED and next(waited) < 100:
            yield 0.01
        if exchange.blocked >= BLOCKED:
            break
    # The last bytes before the end: how many decides what is still on its way then.
    for position in range(0, exchange.offset, 1000):
        yield NOISE[position : min(position + 1000, exchange.offset)]
