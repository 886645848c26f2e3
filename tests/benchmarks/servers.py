"""Starts and ends the servers of a job: uvicorn with one of `apps`, or nginx over its files."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from .client import Address
from .samples import DIRECTORY

ROOT = Path(__file__).parents[2]
READY_WITHIN = 10.0

NGINX = """
daemon off; master_process off; pid {work}/nginx.pid; error_log stderr error; {user}
events {{ worker_connections 4096; }}
http {{
    access_log off; sendfile on; keepalive_requests 1000000; client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy; fastcgi_temp_path {work}/fastcgi; uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi; default_type application/octet-stream;
    server {{ listen 127.0.0.1:{port}; root {files}; }}
}}
"""


class Unavailable(Exception):
    """This side cannot run here: a package, a program or a class is missing."""


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    port: int = 0

    @property
    def address(self) -> Address:
        return "127.0.0.1", self.port

    def last_words(self) -> str:
        """The last line it logged: where a request or the start failed, the exception."""
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return lines[-1].strip() if lines else ""

    def kib(self, name: str, table: str = "status") -> int:
        """A figure of /proc: VmRSS, VmHWM (the peak) or Threads, or Pss of smaps_rollup."""
        text = Path(f"/proc/{self.process.pid}/{table}").read_text()
        found = re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE)
        if not found:
            raise Unavailable(f"/proc has no {name}")
        return int(found[1])

    def reset_peak(self) -> int:
        """Let VmHWM begin anew where the kernel permits; what growth is counted from, in KiB."""
        try:
            Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")
        except OSError:
            return self.kib("VmHWM")
        return self.kib("VmRSS")

    def cpu(self) -> float:
        """Seconds of processor time until now, to the nanosecond where /proc knows 10 ms."""
        # What clock_getcpuclockid(3) makes of a process id.
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def wait_until_idle(self, timeout: float) -> None:
        """Until what clients left behind is cleaned up."""
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            before = self.cpu()
            time.sleep(0.2)
            if self.cpu() - before < 0.01:
                return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        else:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()


@contextmanager
def start(app: str) -> Iterator[Server]:
    with ExitStack() as stack:
        log = stack.enter_context(tempfile.TemporaryFile())
        if app == "nginx":
            work = stack.enter_context(tempfile.TemporaryDirectory(prefix="nginx-"))
            server = start_nginx(work, log)
        else:
            server = start_uvicorn(app, log)
        yield stack.enter_context(server)


def start_uvicorn(app: str, log: IO[bytes]) -> Server:
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.serve", app],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        cwd=ROOT,
        start_new_session=True,  # Ctrl-C is for the benchmark, which then ends its servers
    )
    server = Server(process, log)
    assert process.stdout
    port = process.stdout.readline()
    if not port:
        server.__exit__()
        raise Unavailable(server.last_words())
    server.port = int(port)
    return server


def start_nginx(work: str, log: IO[bytes]) -> Server:
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        raise Unavailable("nginx is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    user = "user root;" if os.geteuid() == 0 else ""
    config = Path(work, "nginx.conf")
    config.write_text(NGINX.format(work=work, port=port, files=os.environ[DIRECTORY], user=user))
    process = subprocess.Popen(
        [program, "-p", work, "-e", "stderr", "-c", str(config)], stderr=log, start_new_session=True
    )
    server = Server(process, log, port)
    if not accepts(server):
        server.__exit__()
        raise Unavailable(f"nginx did not start: {server.last_words()}")
    return server


@contextmanager
def start_redis() -> Iterator[int]:
    """A Redis that keeps nothing; its port."""
    program = shutil.which("redis-server")
    if program is None:
        raise Unavailable("redis-server is not installed")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryFile() as log:
        command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        with Server(process, log, port) as server:
            if not accepts(server):
                raise Unavailable(f"redis-server did not start: {server.last_words()}")
            yield port


def accepts(server: Server) -> bool:
    until = time.monotonic() + READY_WITHIN
    while server.process.poll() is None and time.monotonic() < until:
        try:
            socket.create_connection(server.address, timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return True
    return False
