"""Plugin of pytest: a thread, or the loop, stands still for a moment at any line of ours.

`python -m tests.pauses` stops a whole process, so that its threads stay in step. This one stops
a single thread while the others go on, as a busy machine does, and finds what relies on the order
in which two threads happen to come:

    python -m pytest -p tests.late_threads
"""

from __future__ import annotations

import ctypes
import random
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import streamkit

OURS = (str(Path(streamkit.__file__).parent), str(Path(__file__).parent))
# How likely a thread stops at a line, for how many seconds at most, and how long none does then.
CHANCE = 0.05
LONGEST = 0.05
BETWEEN = 0.05

# Lets the other threads run, as `time.sleep` does, which the suite forbids on a loop.
_usleep = ctypes.CDLL(None).usleep
_next = 0.0
# Not the module's own generator, which hypothesis holds on to.
_random = random.Random()


def _line(frame: FrameType, event: str, arg: object) -> Any:
    global _next
    if event == "line" and _random.random() < CHANCE and (now := time.monotonic()) > _next:
        seconds = _random.uniform(0, LONGEST)
        _next = now + seconds + _random.expovariate(1 / BETWEEN)
        _usleep(int(seconds * 1e6))
    return _line


def _call(frame: FrameType, event: str, arg: object, _ours: tuple[str, ...] = OURS) -> Any:
    return _line if frame.f_code.co_filename.startswith(_ours) else None


def pytest_configure() -> None:
    threading.settrace(_call)
    sys.settrace(_call)


def pytest_unconfigure() -> None:
    threading.settrace(None)  # type: ignore[arg-type]
    sys.settrace(None)
