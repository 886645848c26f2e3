"""The command: `python -m tests.attack`."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic

from tests.server import ROOT

ATTACKS: dict[str, tuple[str, ...]] = {
    "cancellation": ("asyncio", "uvloop", "trio"),
    "disconnects": ("asyncio", "uvloop", "trio"),
    "raising": ("asyncio", "uvloop", "trio"),
    "nesting": ("asyncio", "uvloop", "trio"),
    "crowds": ("asyncio", "uvloop", "trio"),
    "collecting": ("asyncio", "uvloop", "trio"),
    "leaks": ("asyncio", "uvloop", "trio"),
    "sockets": ("asyncio", "uvloop"),
}
# Seconds that a process may take beyond its budget: the watchdog within ends it earlier.
GRACE = 120.0


@dataclass
class Outcome:
    """What one process did, and what it found."""

    counts: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    output: str = ""


def attack(name: str, loop: str, seed: int, seconds: float) -> Outcome:
    """Run one attack in a process of its own."""
    command = [sys.executable, "-m", "tests.attack.running", name, loop, str(seed), str(seconds)]
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + GRACE
        )
    except subprocess.TimeoutExpired as exc:
        return Outcome(findings=[f"its process hangs: {exc}"], output=str(exc.stderr))
    for line in reversed(done.stdout.splitlines()):
        if line.startswith('{"counts"'):
            found = json.loads(line)
            return Outcome(Counter(found["counts"]), found["findings"], done.stderr)
    return Outcome(
        findings=[f"its process ended with {done.returncode}"], output=done.stdout + done.stderr
    )


def main() -> int:
    """Run the attacks that are asked for; 1 if one of them finds something."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="for all of them together")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--rounds", type=int, default=3, help="how often each begins anew")
    parser.add_argument("--only", choices=ATTACKS, action="append", help="more than once")
    parser.add_argument("--loop", choices=("asyncio", "uvloop", "trio"), action="append")
    arguments = parser.parse_args()
    runs = [
        (name, loop)
        for name in arguments.only or ATTACKS
        for loop in ATTACKS[name]
        if not arguments.loop or loop in arguments.loop
    ]
    began, found = monotonic(), 0
    totals: Counter[str] = Counter()
    share = 60 * arguments.minutes / (len(runs) * arguments.rounds)
    for seed in range(arguments.seed, arguments.seed + arguments.rounds):
        for name, loop in runs:
            outcome = attack(name, loop, seed, share)
            totals.update(outcome.counts)
            found += len(outcome.findings)
            counts = ", ".join(f"{count} {what}" for what, count in outcome.counts.items())
            print(f"{monotonic() - began:6.0f} s  {name} on {loop}, seed {seed}: {counts}")
            for finding in outcome.findings:
                print(f"FOUND {name} {loop} seed {seed}: {finding}")
            if outcome.findings:
                print("\n".join(f"    {line}" for line in outcome.output.splitlines()[-120:]))
            sys.stdout.flush()
    print("together:", ", ".join(f"{count} {what}" for what, count in totals.items()))
    print(f"{found} findings in {(monotonic() - began) / 60:.1f} minutes, seed {arguments.seed}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
