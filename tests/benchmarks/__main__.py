"""The command line; `python -m tests.benchmarks --help`, and the package's docstring."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from . import __doc__ as about
from . import page, readme, report
from .facts import facts
from .jobs import JOBS
from .model import Job
from .results import Results, as_json, from_json
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
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write a page with charts there"
    )
    parser.add_argument(
        "--from", type=Path, metavar="JSON", dest="source", help="show these figures, measure none"
    )
    options = parser.parse_args()
    if options.rounds is not None and options.rounds < 1:
        parser.error(f"--rounds must be at least 1, got {options.rounds}")
    if options.source and (options.names or options.quick or options.rounds):
        parser.error("--from measures nothing: it takes no jobs, --quick or --rounds")
    options.jobs = [job for job in JOBS if not options.names or selects(options.names, job)]
    for name in options.names:
        if not any(selects([name], job) for job in JOBS):
            parser.error(f"no job, group or beginning of a name is {name!r}; --list shows them")
    return options


def selects(names: list[str], job: Job) -> bool:
    return any(name in (job.name, job.group) or job.name.startswith(f"{name}-") for name in names)


def measure(options: argparse.Namespace) -> tuple[Results, bool]:
    """The figures, and whether all of them are there: Ctrl-C leaves what there is until then."""
    wanted = [*options.names, *(["--quick"] if options.quick else [])]
    wanted += ["--rounds", str(options.rounds)] if options.rounds else []
    found: list[Row | Skipped] = []
    complete = False
    try:
        with tempfile.TemporaryDirectory(prefix="streamkit-benchmarks-") as directory:
            os.environ[DIRECTORY] = directory
            for number, job in enumerate(options.jobs, 1):
                print(
                    f"{number}/{len(options.jobs)} {job.name} ...",
                    end="",
                    file=sys.stderr,
                    flush=True,
                )
                started = time.monotonic()
                rounds = options.rounds or (1 if options.quick else None)
                found += run(job, rounds, job.quick if options.quick else 1)
                print(f" {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
        complete = True
    except KeyboardInterrupt:
        print("\ninterrupted; what there is until now:", file=sys.stderr)
    rows = [one for one in found if isinstance(one, Row)]
    skips = [one for one in found if isinstance(one, Skipped)]
    return Results(facts(wanted), rows, skips), complete


def main() -> None:
    options = arguments()
    if options.list:
        for job in options.jobs:
            print(f"{job.group:8} {job.name:20} {job.title}")
        return
    if options.source:
        results, complete = from_json(json.loads(options.source.read_text("utf-8"))), True
    else:
        results, complete = measure(options)
    print(report.markdown(results.rows) if options.markdown else report.text(results.rows))
    if results.skips:
        print("\n" + report.skipped(results.skips))
    if options.json:
        options.json.write_text(json.dumps(as_json(results), indent=1) + "\n", "utf-8")
    if options.report and complete:
        page.write(options.report, results)
        readme.write(options.report.resolve().parents[1] / "README.md", results.rows)
    if not complete:
        sys.exit(130)


if __name__ == "__main__":
    # Unwinds, so that servers end. Not in `main`, which tests call in a process of theirs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
