"""How fast a response may be, and how slow its client: arithmetic alone, the time is passed in."""

from __future__ import annotations

import math

__all__ = ["MinRate", "Pacer"]

# Seconds of sending that make one piece, and that a late wake-up may be made good for.
SMOOTH = 0.1
# Bytes below which a send of its own costs more than it tells.
LEAST = 1024


class MinRate:
    """Whether a client takes bytes fast enough, judged while a send waits for it, and only then.

    A client has `grace` seconds in hand. Each second that sends wait for it costs one; each byte it
    takes brings `1 / bytes_per_second` back, up to `grace` again: what it took long ago doesn't
    count. Once nothing is left it is too slow. Time in which there is nothing to send is free.

    A send is one step: nobody sees how much of it has left before it returns. So send pieces of
    at most `piece` bytes; a client that takes nothing is then found out after `grace` seconds in
    hand and as long as the piece may take. And servers and kernels buffer: uvicorn lets no send
    return until 48 KiB have left, then a lot at once. Choose a `grace` in which a client that is
    to be kept takes that much, `49152 / its_bytes_per_second`.

    Raises `ValueError` for a rate that is not above 0 or a grace that is not above 0.

        rate = MinRate(1000, grace=5)
        deadline = rate.begin(now, len(chunk))  # then await the send until then
        rate.end(later)
    """

    __slots__ = ("_began", "_grace", "_left", "_rate", "_size")

    def __init__(self, bytes_per_second: float, grace: float) -> None:
        self._rate = _checked_rate("min_rate", bytes_per_second)
        if not 0 < grace < math.inf:
            raise ValueError(f"grace must be more than 0 seconds, got {grace!r}")
        self._grace = self._left = float(grace)
        self._began: float | None = None
        self._size = 0

    @property
    def piece(self) -> int:
        """Bytes to send at most in one go: what a client may take `grace` seconds for, or 1 KiB."""
        return max(LEAST, int(self._rate * self._grace))

    def begin(self, now: float, size: int) -> float:
        """A send of `size` bytes begins; gives the time at which the client is too slow for it."""
        self._began, self._size = now, size
        return now + self._left + size / self._rate

    def end(self, now: float) -> bool:
        """The send is over, the client took it all; whether it was fast enough so far."""
        if self._began is None:
            raise RuntimeError("end() without begin(): call begin() when the send begins")
        spent = max(0.0, now - self._began)
        self._began = None
        self._left = min(self._grace, self._left + self._size / self._rate - spent)
        return self._left >= 0


class Pacer:
    """When the next bytes may be sent, so that a response keeps to `max_rate` bytes a second.

    Evenly: no credit is saved up while there is nothing to send, but for a tenth of a second, which
    makes up for a sleep that was too long. Send pieces of at most `piece` bytes, or the bytes
    come in bursts of their own size. In any `t` seconds at most `max_rate * (t + 0.1)` bytes and
    one piece are sent.

    Raises `ValueError` for a rate that is not above 0.

        pacer = Pacer(100_000)
        await anyio.sleep(pacer.delay(anyio.current_time(), len(piece)))
    """

    __slots__ = ("_next", "_rate")

    def __init__(self, max_rate: float) -> None:
        self._rate = _checked_rate("max_rate", max_rate)
        self._next: float | None = None

    @property
    def piece(self) -> int:
        """Bytes to send at most in one go: those of a tenth of a second."""
        return max(1, int(self._rate * SMOOTH))

    def delay(self, now: float, size: int) -> float:
        """Seconds to wait before `size` bytes are sent; counts them as sent then."""
        # A silence is no credit: nothing counts as due longer ago than this.
        due = now if self._next is None else max(self._next, now - SMOOTH)
        self._next = due + size / self._rate
        return max(0.0, due - now)


def _checked_rate(name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of bytes a second, got {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a number of bytes a second above 0, got {value!r}")
    return float(value)
