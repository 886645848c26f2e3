"""Every job of the benchmark. `model.py` says what the fields mean."""

from __future__ import annotations

from ..model import Job
from . import core, files, formats, growth

JOBS: list[Job] = [*core.JOBS, *files.JOBS, *formats.JOBS, *growth.JOBS]
