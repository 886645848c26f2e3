"""The command: `python -m tests.matrix`."""

from __future__ import annotations

import argparse
import sys
from time import monotonic

import streamkit
from tests.matrix.cells import all_cells, sample
from tests.matrix.run import run
from tests.matrix.table import failed, lines


def main() -> int:
    """Run the cells that are asked for; 1 if one of them fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrix", description=__doc__)
    parser.add_argument("--sample", type=int, metavar="N", help="a fair sample of N cells")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--minutes", type=float, default=60, help="how long it may take")
    parser.add_argument("--jobs", type=int, default=24, help="clients at once")
    parser.add_argument("--servers", type=int, default=1, help="servers at once")
    parser.add_argument("--honest", choices=("with", "without", "both"), default="both")
    parser.add_argument(
        "--only",
        action="append",
        metavar="'SERVER STACK WAY CLIENT honest|plain OFFSET'",
        help="cells that match, word by word, with * and | in each; more than once",
    )
    arguments = parser.parse_args()
    honest = {"with": [True], "without": [False], "both": [False, True]}[arguments.honest]
    if not hasattr(streamkit, "Honest"):
        print("streamkit has no Honest: those cells are left out")
        honest = [wrapped for wrapped in honest if not wrapped]
    cells = list(all_cells(honest=honest))
    if arguments.only:
        cells = [cell for cell in cells if any(map(cell.matches, arguments.only))]
    if arguments.sample is not None:
        cells = sample(cells, arguments.sample, arguments.seed)
    began = monotonic()
    results = []
    until = began + 60 * arguments.minutes
    for result in run(cells, jobs=arguments.jobs, servers=arguments.servers, until=until):
        results.append(result)
        if failed(result):
            print(f"FAILED {result.cell}: {result.verdict} ({result.detail}; {result.told})")
        if not len(results) % 100:
            bad = sum(map(failed, results))
            spent = monotonic() - began
            print(f"{len(results)} of {len(cells)} cells, {bad} failed, {spent:.0f} s", flush=True)
    print("\n".join(lines(results)))
    bad = sum(map(failed, results))
    left = len(cells) - len(results)
    print(f"{len(results)} cells, {bad} failed, {left} not run, {monotonic() - began:.0f} s")
    print(f"seed {arguments.seed}")
    return 1 if bad or left else 0


if __name__ == "__main__":
    sys.exit(main())
