"""Keeps a response to its rates: not faster than `max_rate`, and not slower than `min_rate`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from streamkit import loop
from streamkit.errors import ClientTooSlow
from streamkit.rates import MinRate, Pacer

__all__ = ["Rates"]


class Rates:
    """In which pieces a body is sent, when each may begin, and how long it may take.

    `too_slow` is called while a send waits for a client that is below `min_rate`: it ends the
    response. Nothing shows how much of a piece has left before its send returns.
    """

    def __init__(
        self,
        min_rate: float | None,
        grace: float,
        max_rate: float | None,
        too_slow: Callable[[ClientTooSlow], None],
    ) -> None:
        self._min_rate = min_rate
        self._floor = None if min_rate is None else MinRate(min_rate, grace)
        self._pacer = None if max_rate is None else Pacer(max_rate)
        self._too_slow = too_slow
        self._clock = loop.clock()
        limits = (self._floor, self._pacer)
        # Bytes that one send may have at most.
        self.piece: int = min(each.piece for each in limits if each is not None)

    def delay(self, count: int) -> float:
        """Seconds to wait before so many bytes are sent."""
        return 0.0 if self._pacer is None else self._pacer.delay(self._clock(), count)

    @contextmanager
    def watched(self, count: int) -> Iterator[None]:
        """Around the send of so many bytes; raises `ClientTooSlow` if it took too long."""
        floor, too_slow = self._floor, self._too_slow
        if floor is None or self._min_rate is None:
            yield
            return
        error = ClientTooSlow(self._min_rate)
        timer = loop.call_at(floor.begin(self._clock(), count), lambda: too_slow(error))
        try:
            yield
        finally:
            timer.cancel()
        if not floor.end(self._clock()):
            raise error
