"""The command line; `python -m tests.benchmarks --help`, and the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path

from . import __doc__ as about
from . import report
from .jobs import JOBS
from .model import Job
from .run import Row, Skipped, run
from .samples import DIRECTORY


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks",
        description=about,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", help="jobs, beginnings of names, or groups")
    parser.add_argument("--list", action="store_true", help="print the jobs and stop")
    parser.add_argument("--quick", action="store_true", help="one round of a fraction of the work")
    parser.add_argument("--rounds", type=int, metavar="N", help="instead of each job's own number")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the raw figures there")
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    options.jobs = [job for job in JOBS if not options.names or selects(options.names, job)]
    for name in options.names:
        if not any(selects([name], job) for job in JOBS):
            parser.error(f"no job, group or beginning of a name is {name!r}; --list shows them")
    return options


def selects(names: list[str], job: Job) -> bool:
    return any(name in (job.name, job.group) or job.name.startswith(f"{name}-") for name in names)


def main() -> None:
    options = arguments()
    if options.list:
        for job in options.jobs:
            print(f"{job.group:8} {job.name:20} {job.title}")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that servers end
    results: list[Row | Skipped] = []
    interrupted = False
    try:
        with tempfile.TemporaryDirectory(prefix="streamkit-benchmarks-") as directory:
            os.environ[DIRECTORY] = directory
            for job in options.jobs:
                print(f"{job.name} ...", file=sys.stderr, flush=True)
                rounds = options.rounds or (1 if options.quick else None)
                results += run(job, rounds, job.quick if options.quick else 1)
    except KeyboardInterrupt:
        interrupted = True
        print("interrupted; what there is until now:", file=sys.stderr)
    rows = [result for result in results if isinstance(result, Row)]
    skips = [result for result in results if isinstance(result, Skipped)]
    print(report.markdown(rows) if options.markdown else report.text(rows))
    if skips:
        print("\n" + report.skipped(skips))
    if options.json:
        options.json.write_text(json.dumps(report.as_json(rows, skips), indent=1) + "\n")
    if interrupted:
        sys.exit(130)


if __name__ == "__main__":
    main()
