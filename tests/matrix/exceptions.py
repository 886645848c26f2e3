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


# What fails once the response has begun, with a client that reads or stalls.
FAILING = "error*|*-timeout*|cancel-*|thread-lost|shutdown*"
HTTP_1 = "uvicorn-h11|uvicorn-httptools|hypercorn-h1|granian-h1|daphne"

EXCEPTIONS: tuple[Exempt, ...] = (
    Exempt(
        f"{HTTP_1}|hypercorn-h2|granian-h2 catch|catch+*|*+catch {FAILING} * plain",
        CLEAN_END,
        "the middleware finishes the body of an app that has failed, as a whole one, and these "
        "servers (uvicorn 0.54, hypercorn 0.18, granian 2.8, daphne 4.2) take its last message: "
        "it is for Honest to refuse that",
    ),
    Exempt(
        f"hypercorn-h2|granian-h2 base+transform|base+brotli {FAILING} * plain",
        CLEAN_END,
        "the inner middleware passes over the invalid messages (brotli-asgi 1.7 does), and "
        "BaseHTTPMiddleware of Starlette 1.10 ends the body of an app that has failed: nothing "
        "tells the server, and the connection, which is dropped on HTTP/1, is that of other "
        "streams too; Honest tells it. A brotli stream is then without its own end",
    ),
    Exempt(
        "granian-h2 base|base+*|*+base cancel-inside|cancel-raises|thread-lost stalls plain",
        CLEAN_END,
        "on HTTP/2 only the server can reset the stream of a client that has stalled, and a "
        "cancellation below BaseHTTPMiddleware can't wait for it as an error does: it can't be "
        "told from one above, which would wait for it in turn; Honest refuses the end",
    ),
    Exempt(
        f"daphne * {FAILING} *",
        HANG,
        "daphne 4.2 answers for an app that has failed with a second start message, fails at that "
        "itself, and leaves the connection open; its client has a timeout of its own, or waits",
    ),
    Exempt(
        "daphne-1.0 * shutdown|shutdown-sync *",
        CLEAN_END,
        "daphne 4.2 closes its connections as soon as it is told to stop, and on HTTP/1.0 that is "
        "how a body ends; content is not closed by then: on a thread, or on a machine that is busy",
    ),
    Exempt(
        f"hypercorn-h2 * {FAILING} *",
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
