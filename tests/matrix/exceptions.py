"""Cells that a server or a middleware makes impossible, each with its reason."""

from __future__ import annotations

from typing import NamedTuple

from tests.matrix.cells import Cell
from tests.matrix.client import CLEAN_END, HANG


class Exempt(NamedTuple):
    """Cells that match `pattern` may have `verdict`: a word each for server, stack, way, client,
    honest and offset, as in a cell's own line; `*` and `|` as in a shell's `case`."""

    pattern: str
    verdict: str
    reason: str


EXCEPTIONS: tuple[Exempt, ...] = (
    Exempt(
        "* catch|catch+*|*+catch * * plain",
        CLEAN_END,
        "the middleware finishes the body of an app that has failed, as a whole one; it is for "
        "Honest to refuse that",
    ),
    Exempt(
        "* base+transform|base+brotli|collect+transform * * plain",
        CLEAN_END,
        "the inner middleware passes over the invalid messages, and the outer one ends the body of "
        "an app that has failed: nothing tells the server; Honest does. (A brotli stream is then "
        "without its own end.)",
    ),
    Exempt(
        "daphne|daphne-1.0 *",
        HANG,
        "daphne 4.2 answers for an app that has failed with a second start message, fails at that "
        "itself, and leaves the connection open; its client has a timeout of its own, or waits",
    ),
    Exempt(
        "hypercorn-1.0|granian-1.0|daphne-1.0 *",
        CLEAN_END,
        "HTTP/1.0 ends a body with the connection, so that only a reset says that it is cut, and "
        "these servers end a connection in order, whatever was asked of its socket",
    ),
    Exempt(
        "hypercorn-h2 *",
        HANG,
        "hypercorn 0.18 neither ends nor resets an HTTP/2 stream whose app has failed; its client "
        "has a timeout of its own, or waits",
    ),
)


def exemption(cell: Cell, verdict: str) -> Exempt | None:
    """Why a cell may have a verdict that fails elsewhere; None if it may not."""
    return next(
        (row for row in EXCEPTIONS if row.verdict == verdict and cell.matches(row.pattern)), None
    )
