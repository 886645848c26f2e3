"""What figures belong to: the machine, the versions, the day and the command."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from . import wrk

PACKAGES = ["streamkit", "starlette", "fastapi", "anyio", "pydantic", "uvicorn", "uvloop"]
PACKAGES += ["httptools", "sse-starlette", "stream-zip", "zipstream-ng", "broadcaster", "litestar"]
PACKAGES += ["redis"]
PROGRAM = "python -m tests.benchmarks"


def facts(arguments: list[str]) -> dict[str, Any]:
    """Nothing that names the machine or a place on it."""
    return {
        "command": " ".join([PROGRAM, *arguments]),
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "machine": platform.machine(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "versions": versions(),
    }


def processor() -> str:
    found = re.search(r"^model name\s*: (.+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else "unknown"


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if nginx := shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        said = subprocess.run([nginx, "-v"], capture_output=True, text=True, check=False).stderr
        if number := re.search(r"nginx/(\S+)", said):
            found["nginx"] = number[1]
    if server := shutil.which("redis-server"):
        said = subprocess.run([server, "-v"], capture_output=True, text=True, check=False).stdout
        if number := re.search(r"v=(\S+)", said):
            found["redis-server"] = number[1]
    if wrk.PROGRAM:
        found["wrk"] = wrk.version()
    return found


def machine(facts: dict[str, Any]) -> str:
    """In a line: what ran the figures."""
    memory = f"{facts['memory'] / (1 << 30):.0f} GiB"
    return f"{facts['processor']}, {facts['cores']} cores, {memory}, {facts['system']}"


def is_quick(facts: dict[str, Any]) -> bool:
    return "--quick" in facts["command"].split()
