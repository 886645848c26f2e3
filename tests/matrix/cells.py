"""The cells of the matrix: all there are, those that are asked for, and a fair sample."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from tests.matrix.servers import SERVERS
from tests.matrix.stacks import STACKS
from tests.matrix.ways import STALLS, WAYS

# Bytes that follow where the client has stalled; the last 64 KiB decide what waits for it.
OFFSETS = (0, 9_000, 47_000)
# Ways that differ little from one that combined stacks meet as well.
VARIANTS = {"complete-sync", "cancel-raises", "shutdown-sync", "item-timeout-sync"}


@dataclass(frozen=True)
class Cell:
    """One response of the matrix."""

    server: str
    stack: str
    way: str
    client: str
    honest: bool
    offset: int = 0

    def __str__(self) -> str:
        honest = "honest" if self.honest else "plain"
        return f"{self.server} {self.stack} {self.way} {self.client} {honest} {self.offset}"

    def matches(self, pattern: str) -> bool:
        """Whether each word of the cell matches that of the pattern, as far as it has words."""
        words = zip(str(self).split(), pattern.split(), strict=False)
        return all(
            any(fnmatchcase(word, choice) for choice in wanted.split("|")) for word, wanted in words
        )


def all_cells(*, honest: Iterable[bool]) -> Iterator[Cell]:
    """Every cell, server by server; stacks of several middlewares meet fewer variants."""
    for server in SERVERS:
        for wrapped in honest:
            for stack in STACKS:
                combined = "+" in stack
                if combined and server.endswith("-1.0"):
                    continue
                for name, way in WAYS.items():
                    if combined and name in VARIANTS:
                        continue
                    for client in way.clients:
                        many = client == STALLS and name.startswith("error") and not combined
                        for offset in OFFSETS if many else OFFSETS[:1]:
                            yield Cell(server, stack, name, client, wrapped, offset)


def sample(cells: Sequence[Cell], size: int, seed: int) -> list[Cell]:
    """A fair sample: each server, stack, way and client about as often as any other."""
    source = random.Random(seed)
    left, chosen, seen = list(cells), list[Cell](), Counter[object]()
    source.shuffle(left)

    def weight(position: int) -> int:
        return sum(seen[part] for part in _parts(left[position]))

    while left and len(chosen) < size:
        among = min(100, len(left))
        best = min((source.randrange(len(left)) for _ in range(among)), key=weight)
        left[best], left[-1] = left[-1], left[best]
        chosen.append(left.pop())
        seen.update(_parts(chosen[-1]))
    return chosen


def _parts(cell: Cell) -> Iterator[object]:
    yield "server", cell.server
    yield "way", cell.way
    yield "client", cell.client, cell.server
    yield "honest", cell.honest
    for name in cell.stack.split("+"):
        yield "stack", name
