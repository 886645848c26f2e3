"""Runs the suite and stops its processes for a moment, again and again, as a busy machine does.

    python -m tests.pauses [--seconds 0.35] [--every 2.0] [arguments of pytest]

The threads of a process stay in step then. So each of them also stops alone, at lines of ours
(`tests/late_threads.py`). A test that fails in it relies on a machine that is never late. Linux
only.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path


def children(pid: int) -> list[int]:
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return found


def pause(pid: int, seconds: float) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.35, help="how long a process is stopped")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two stops of one")
    options, rest = parser.parse_known_args()
    pytest = [sys.executable, "-m", "pytest", "-n", "4", "--dist", "loadfile"]
    pytest += ["-p", "tests.late_threads", *rest]
    pauses = 0
    with subprocess.Popen(pytest) as process:
        while process.poll() is None:
            workers = children(process.pid)
            time.sleep(options.every / max(len(workers), 1) * random.uniform(0.5, 1.5))
            if workers:
                pause(random.choice(workers), options.seconds)
                pauses += 1
    print(f"{pauses} pauses of {options.seconds} s")
    return process.returncode


if __name__ == "__main__":
    sys.exit(main())
