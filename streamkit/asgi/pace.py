"""Keeps a response to its rates: not faster than `max_rate`, and not slower than `min_rate`."""

from __future__ import annotations

from collections.abc import Callable

import anyio
from starlette.types import Message, Send

from streamkit import loop
from streamkit.errors import ClientTooSlow
from streamkit.rates import MinRate, Pacer

__all__ = ["paced"]


def paced(
    send: Send,
    min_rate: float | None,
    grace: float,
    max_rate: float | None,
    too_slow: Callable[[ClientTooSlow], None],
) -> Send:
    """A `send` that passes bodies on in pieces.

    `too_slow` is called while a send waits for a client that is below `min_rate`: it ends the
    response. Nothing shows how much of a piece has left before its send returns.
    """
    floor = None if min_rate is None else MinRate(min_rate, grace)
    pacer = None if max_rate is None else Pacer(max_rate)
    clock = loop.clock()
    size = min(each.piece for each in (floor, pacer) if each is not None)

    async def send_piece(message: Message, count: int) -> None:
        if pacer is not None and (delay := pacer.delay(clock(), count)):
            await anyio.sleep(delay)
        if floor is None or min_rate is None:
            await send(message)
            return
        error = ClientTooSlow(min_rate)
        timer = loop.call_at(floor.begin(clock(), count), lambda: too_slow(error))
        try:
            await send(message)
        finally:
            timer.cancel()
        if not floor.end(clock()):
            raise error

    async def send_in_pieces(message: Message) -> None:
        body = message.get("body", b"")
        if not body:
            await send(message)
            return
        for start in range(0, len(body), size):
            piece = body[start : start + size]
            more = message.get("more_body", False) or start + size < len(body)
            await send_piece({**message, "body": piece, "more_body": more}, len(piece))

    return send_in_pieces
