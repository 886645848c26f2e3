"""Prints the matrix: a table for each server, a line for each stack, a letter for each cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from tests.matrix.client import CLEAN_END, CUT, HANG, NOT_CLOSED, STATUS, WHOLE
from tests.matrix.exceptions import EXCEPTIONS, exemption
from tests.matrix.run import Result
from tests.matrix.ways import READS, STALLS, WAYS

LETTERS = {WHOLE: "w", CUT: "c", STATUS: "s", CLEAN_END: "E", HANG: "H", NOT_CLOSED: "N"}
LEGEND = (
    "w whole, c cut, s error status; FAILURES: E clean end of a part, H hang, N not closed once, "
    "? no verdict; lower case e, h, n: an exception; . not run. Each way: client reads, stalls."
)


def failed(result: Result) -> bool:
    """Whether a cell lies, hangs, or leaves its content open, and no exception says why."""
    cell, verdict = result.cell, result.verdict
    # Whole: what ends in time meets no timeout.
    good = {WHOLE} if cell.way.startswith("complete") else {CUT, STATUS, WHOLE}
    return verdict not in good and exemption(cell, verdict) is None


def lines(results: Sequence[Result]) -> Iterator[str]:
    """The tables, then the cells that failed, then the exceptions that were met."""
    tables: defaultdict[tuple[str, bool], list[Result]] = defaultdict(list)
    for result in results:
        tables[result.cell.server, result.cell.honest].append(result)
    yield LEGEND
    for (server, honest), table in tables.items():
        yield ""
        yield f"{server}, {'within Honest' if honest else 'without Honest'}"
        yield from _table(table)
    yield ""
    for row in EXCEPTIONS:
        met = [
            r for r in results if r.verdict == row.verdict and exemption(r.cell, r.verdict) == row
        ]
        if met:
            yield f"exception: {row.pattern} may be {row.verdict} ({len(met)} cells): {row.reason}"
    for result in results:
        if failed(result):
            yield f"FAILED {result.cell}: {result.verdict} ({result.detail}; {result.told})"


def _table(results: Sequence[Result]) -> Iterator[str]:
    letters: dict[tuple[str, str, str], str] = {}
    for result in results:
        place = result.cell.stack, result.cell.way, result.cell.client
        # Of several offsets the worst.
        if not (place in letters and letters[place].isupper()):
            letters[place] = _letter(result)
    stacks = dict.fromkeys(result.cell.stack for result in results)
    ways = [way for way in WAYS if any(result.cell.way == way for result in results)]
    width = max(map(len, stacks))
    for number, way in enumerate(ways):
        yield " " * (width + 2) + "|  " * number + way
    for stack in stacks:
        cells = (
            "".join(letters.get((stack, way, client), ".") for client in (READS, STALLS))
            for way in ways
        )
        yield f"{stack:<{width}}  " + " ".join(cells)


def _letter(result: Result) -> str:
    letter = LETTERS.get(result.verdict, "?")
    if failed(result):
        return letter if letter in "EHN?" else letter.upper()
    return letter.lower()
