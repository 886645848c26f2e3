"""A PostgreSQL of this test run: started when the first test asks for it."""

from __future__ import annotations

import atexit
import glob
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from tests.server import free_port, wait_for

__all__ = ["database"]

# Debian keeps them off the PATH.
PLACES = os.pathsep.join([os.environ.get("PATH", ""), *glob.glob("/usr/lib/postgresql/*/bin")])


def database() -> str:
    """The address of an empty database."""
    if shutil.which("initdb", path=PLACES) is None:
        pytest.skip("postgres is not installed")
    return _start()


@cache
def _start() -> str:
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    # PostgreSQL refuses to run as root.
    user = "nobody" if os.getuid() == 0 else None
    if user is not None:
        shutil.chown(folder, user)
    initdb, server = (shutil.which(name, path=PLACES) for name in ("initdb", "postgres"))
    assert initdb is not None
    assert server is not None
    data = str(folder / "data")
    options = ["--no-sync", "--auth", "trust", "--username", "postgres", "--encoding", "UTF8"]
    subprocess.run([initdb, data, *options], check=True, capture_output=True, user=user, cwd=folder)
    port = free_port()
    command = [server, "-D", data, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
    log = folder / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "-c", "unix_socket_directories=", "-c", "fsync=off"],
            user=user,
            cwd=folder,
            stderr=output,
        )
    atexit.register(_stop, process, folder)

    def is_ready() -> bool:
        assert process.poll() is None, log.read_text()
        return "ready to accept connections" in log.read_text()

    wait_for(is_ready, "postgres")
    return f"postgresql://postgres@127.0.0.1:{port}/postgres"


def _stop(process: subprocess.Popen[bytes], folder: Path) -> None:
    # Fast shutdown: open connections are no reason to wait.
    process.send_signal(signal.SIGINT)
    process.wait(timeout=10)
    shutil.rmtree(folder, ignore_errors=True)
