"""wrk as the client, where it is installed: this process is slower than the fastest servers."""

from __future__ import annotations

import re
import shutil
import subprocess

from .client import Address, ClientError

PROGRAM = shutil.which("wrk")


def version() -> str:
    said = subprocess.run([PROGRAM or "wrk", "-v"], capture_output=True, text=True, check=False)
    found = re.search(r"wrk \S*?(\d+[.\d]+)", said.stdout + said.stderr)
    return found[1] if found else "unknown"


def hammer(
    address: Address, path: str, connections: int, seconds: int, headers: str = ""
) -> tuple[int, float]:
    """The number of requests that were answered, and the seconds they took."""
    command = [PROGRAM or "wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for line in headers.splitlines():
        command += ["-H", line]
    command.append(f"http://{address[0]}:{address[1]}{path}")
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return parsed(result.stdout or result.stderr)


def parsed(said: str) -> tuple[int, float]:
    """`12345 requests in 2.01s, 56MB read`, and a line more where something failed."""
    if failed := re.search(r"Non-2xx.*|Socket errors: .*|.*unable.*", said):
        raise ClientError(f"wrk: {failed[0].strip()}")
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)", said)
    if not found or not int(found[1]):
        raise ClientError(f"wrk: {said.strip() or 'it said nothing'}")
    return int(found[1]), float(found[2]) * {"ms": 1e-3, "s": 1.0, "m": 60.0}[found[3]]
