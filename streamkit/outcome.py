"""How a response ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Reason", "StreamOutcome"]

Reason = Literal["complete", "disconnect", "error", "timeout", "cancelled"]


@dataclass(frozen=True, slots=True)
class StreamOutcome:
    """How a response ended, as `on_close` is told.

    `reason`: "complete", "disconnect" (the client left), "error" (the content, or its encoding,
    raised, or gave nothing for `item_timeout`), "timeout" (the client took nothing for
    `send_timeout` seconds) or "cancelled" (the server, a scope around the response or
    `graceful_shutdown` cancelled it). `bytes_sent`: bytes of the body handed to the server.
    `duration`: seconds. `error`: the exception behind it, or what the content's cleanup raised.
    `status_code`: the one sent, None before the start. `first_chunk_after`: seconds until the
    first chunk was ready, None if there was none. `items`: chunks the content gave.

    A client that leaves after the last item it wanted, as openai's does at `[DONE]`, is a
    "disconnect": `items` tells that nothing was lost.

        StreamOutcome("complete", bytes_sent=11, duration=0.25, status_code=200, items=3)
    """

    reason: Reason
    bytes_sent: int
    duration: float
    error: BaseException | None = None
    status_code: int | None = None
    first_chunk_after: float | None = None
    items: int = 0
