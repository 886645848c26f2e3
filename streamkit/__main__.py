"""`python -m streamkit`: serve the demo with uvicorn; `--version` prints the version."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress

from streamkit import __version__

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the demo until interrupted; exit with status 1 and one line where that can't be."""
    options = _parse(arguments)
    try:
        import uvicorn

        from streamkit.demo.app import app
        from streamkit.demo.record import PlannedFailure
    except ModuleNotFoundError as exc:
        sys.exit(f"streamkit: the demo needs {exc.name}: pip install 'streamkit[demo]'")
    listener = _listen(options.host, options.port)
    host, port = listener.getsockname()[:2]
    name = f"[{host}]" if ":" in host else host
    print(f"streamkit demo on http://{name}:{port}/ (Ctrl+C stops it)", flush=True)
    # Seconds that open streams may go on after Ctrl+C.
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2)
    # Streams that go on longer are cut, and those that the page makes fail are meant to.
    expected = (asyncio.CancelledError, PlannedFailure)
    logging.getLogger("uvicorn.error").addFilter(
        lambda note: (
            not (
                (note.exc_info and isinstance(note.exc_info[1], expected))
                or str(note.msg).startswith("ASGI callable returned without completing")
            )
        )
    )
    with listener, suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m streamkit", description="Serve the demo of streamkit: live streams."
    )
    parser.add_argument("--version", action="version", version=f"streamkit {__version__}")
    parser.add_argument("--host", default="127.0.0.1", help="address to bind (%(default)s)")
    parser.add_argument(
        "--port", type=_port, default=8000, help="port to bind (%(default)s); 0 takes a free one"
    )
    return parser.parse_args(arguments)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, got {text!r}")
    return int(text)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            # On Windows this option would let two servers share the port.
            if os.name == "posix":
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen()
        except OSError:
            listener.close()
            raise
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            sys.exit(f"streamkit: port {port} on {host} is taken; choose another with --port")
        sys.exit(f"streamkit: can't listen on {host} port {port}: {exc.strerror or exc}")
    return listener


if __name__ == "__main__":
    main()
