"""The servers of the matrix, and the protocols they are asked by."""

from __future__ import annotations

from typing import NamedTuple

_APP = "tests.matrix.app:app"
_UVICORN = ("uvicorn", "--port={port}", "--log-level=error")


class Asked(NamedTuple):
    """A command, and the protocol of the client that asks the server it starts."""

    process: str
    protocol: str


PROCESSES: dict[str, list[str]] = {
    "uvicorn-h11": ["uvicorn", "--port={port}", "--log-level=error", "--http=h11", _APP],
    "uvicorn-httptools": [
        "uvicorn",
        "--port={port}",
        "--log-level=error",
        "--http=httptools",
        _APP,
    ],
    "hypercorn": ["hypercorn", "--bind=127.0.0.1:{port}", "--log-level=error", _APP],
    "granian": [
        *["granian", "--interface=asgi", "--port={port}", "--no-ws", "--log-level=error"],
        *["--loop=asyncio", _APP],
    ],
    "daphne": ["daphne", "--port={port}", "--verbosity=0", _APP],
}
SERVERS: dict[str, Asked] = {
    "uvicorn-h11": Asked("uvicorn-h11", "h1"),
    "uvicorn-httptools": Asked("uvicorn-httptools", "h1"),
    "hypercorn-h1": Asked("hypercorn", "h1"),
    "hypercorn-h2": Asked("hypercorn", "h2"),
    "granian-h1": Asked("granian", "h1"),
    "granian-h2": Asked("granian", "h2"),
    "daphne": Asked("daphne", "h1"),
    **{f"{process}-1.0": Asked(process, "h1.0") for process in PROCESSES},
}
