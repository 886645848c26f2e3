"""`python -m tests.benchmarks.serve APP`: one uvicorn with one app on a free loopback port.

Prints the port once connections are accepted, and ends when its standard input does: however the
benchmark ends, its servers end with it.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import threading

import uvicorn

from .apps import load


def end_with_input() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main(name: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Only live streams live longer than a request.
    lifespan = "on" if name.startswith("live:") else "off"
    config = uvicorn.Config(load(name), log_level="error", access_log=False, lifespan=lifespan)
    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listener:
        threading.Thread(target=end_with_input, daemon=True).start()
        print(listener.getsockname()[1], flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(sys.argv[1])
