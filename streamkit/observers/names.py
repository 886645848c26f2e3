"""What both observers share: labels and the edges of histograms.

Names follow OpenTelemetry's semantic conventions for HTTP servers, `http.server.*` and `http.*`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from streamkit.observing import StreamInfo

if TYPE_CHECKING:
    from streamkit.outcome import StreamOutcome

__all__ = ["BYTES", "SECONDS", "error_type", "known_method"]

# The conventions' own edges end at 10 s; streams last for hours.
SECONDS = (
    0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
    30, 60, 300, 900, 3600,
)  # fmt: skip
BYTES = tuple(float(4**power) for power in range(4, 18))

_METHODS = frozenset(
    ("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE")
)


def known_method(method: str) -> str:
    """The method, or `_OTHER`: clients may invent any number of them."""
    return method if method in _METHODS else "_OTHER"


def error_type(info: StreamInfo, outcome: StreamOutcome) -> str | None:
    """`error.type`: the exception's class, else the reason or the status; None for a good end.

    A client that leaves is no error of the server's.
    """
    if outcome.reason in ("complete", "disconnect"):
        return str(info.status) if info.status is not None and info.status >= 500 else None
    return outcome.reason if outcome.error is None else type(outcome.error).__qualname__
