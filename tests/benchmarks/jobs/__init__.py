"""Every job of the benchmark. `model.py` says what the fields mean."""

from __future__ import annotations

from ..model import Job
from . import core, files, formats, growth, live, operate, small, trickle

JOBS: list[Job] = [
    *core.JOBS,
    *trickle.JOBS,
    *small.JOBS,
    *files.JOBS,
    *formats.JOBS,
    *operate.JOBS,
    *live.JOBS,
    *growth.JOBS,
]
