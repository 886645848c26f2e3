"""A short round of each attack; the long ones are `python -m tests.attack`."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.attack.__main__ import ATTACKS, attack
from tests.attack.contents import KINDS
from tests.attack.nesting import nestings

SECONDS = 0.8


@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_hangs_and_nothing_is_left(name: str) -> None:
    loops = ATTACKS[name]
    with ThreadPoolExecutor(len(loops)) as pool:
        run = partial(attack, name, seed=1, seconds=SECONDS)
        outcomes = list(pool.map(lambda loop: run(loop=loop), loops))
    for loop, outcome in zip(loops, outcomes, strict=True):
        assert not outcome.findings, f"on {loop}: {outcome.findings}\n{outcome.output[-8000:]}"
        assert outcome.counts


def test_a_process_that_ends_without_a_word_is_a_finding() -> None:
    outcome = attack("nothing", "asyncio", 0, 0.1)
    assert "No module named" in outcome.output
    assert outcome.findings


def test_every_nesting_of_the_bridges_is_tried() -> None:
    found = list(nestings())
    assert len(found) == len(set(found))
    assert {"aF", "sT", "sW", "aFT", "sTF", "aFSW", "sWFST"} <= set(found)
    assert len(KINDS) >= 20
