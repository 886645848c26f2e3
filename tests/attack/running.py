"""One attack in one process: its budget, its counts, its findings, and the watchdog over it."""

from __future__ import annotations

import asyncio
import faulthandler
import gc
import json
import logging
import os
import random
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any

import anyio
import anyio.lowlevel
from starlette.types import Message

from streamkit import loop, stream_limiter
from tests.attack.contents import Client, Diary

# Seconds in which a step must come to its end.
PATIENCE = 30.0
# Findings after which an attack gives up.
MOST_FINDINGS = 20


class Share:
    """A part of an attack's time."""

    def __init__(self, until: float) -> None:
        self._until = until
        self._is_new = True

    @property
    def goes_on(self) -> bool:
        """Whether there is time left of it; there is for one round, also where time is short."""
        is_new, self._is_new = self._is_new, False
        return is_new or monotonic() < self._until


class Attack:
    """What an attack is given: a budget and a source of chance; what it counts and finds."""

    def __init__(self, seed: int, seconds: float) -> None:
        self.random = random.Random(seed)
        self.seconds = seconds
        # Seconds in which a step must go on.
        self.patience = PATIENCE
        self.counts: Counter[str] = Counter()
        self.findings: list[str] = []
        self._until = monotonic() + seconds
        self._label = "nothing yet"
        self._since = monotonic()

    @property
    def goes_on(self) -> bool:
        """Whether there is time left, and a reason to use it."""
        has_time = not self.counts or monotonic() < self._until
        return has_time and len(self.findings) < MOST_FINDINGS

    def share(self, among: int) -> Share:
        """A part of the time that is left."""
        return Share(monotonic() + (self._until - monotonic()) / among)

    def step(self, kind: str, label: str) -> None:
        """Begin a step; the watchdog names it if it never ends."""
        self.counts[kind] += 1
        self._label = f"{kind}: {label}"
        self._since = monotonic()

    def alive(self) -> None:
        """A step that takes long goes on."""
        self._since = monotonic()

    def expect(self, holds: object, otherwise: str) -> None:
        """Note a finding if something does not hold."""
        if not holds:
            self.findings.append(f"{self._label}: {otherwise}")

    async def eventually(self, look: Callable[[], object], otherwise: Callable[[], str]) -> None:
        """Note a finding if something does not come to hold within a few seconds."""
        until = monotonic() + 6
        while not look():
            if monotonic() > until:
                self.expect(False, otherwise())
                return
            await anyio.sleep(0.001)

    async def settled(self, diary: Diary, kind: str = "") -> None:
        """Note a finding if, after a few seconds, a content is not closed and told of once."""
        await self.eventually(lambda: diary.settled, lambda: f"{kind} {diary}".strip())

    def watch(self, report: Callable[[Attack], None]) -> None:
        """Have a thread end the process when a step takes too long."""

        def look() -> None:
            while True:
                threading.Event().wait(1)
                if monotonic() - self._since > self.patience:
                    self.findings.append(f"{self._label}: HANGS")
                    faulthandler.dump_traceback(sys.stderr, all_threads=True)
                    report(self)
                    os._exit(3)

        threading.Thread(target=look, daemon=True).start()


class Taking(Client):
    """A client of a step that takes long: each message says that the step goes on."""

    def __init__(self, attack: Attack, room: int | None = None) -> None:
        super().__init__(room=room)
        self._attack = attack

    async def send(self, message: Message) -> None:
        self._attack.alive()
        await super().send(message)


class Leftovers:
    """What is there now of what must not stay: tasks, descriptors, threads of the streams."""

    def __init__(self) -> None:
        gc.collect()
        self.tasks = len(tasks())
        self.descriptors = descriptors()

    async def check(self, attack: Attack) -> None:
        """Note what has come since and stays."""
        await attack.eventually(
            lambda: not stream_limiter().borrowed_tokens,
            lambda: f"{stream_limiter().borrowed_tokens} threads are not given back",
        )
        await attack.eventually(
            lambda: len(tasks()) <= self.tasks, lambda: f"more tasks than {self.tasks}: {tasks()}"
        )
        if descriptors() > self.descriptors:
            gc.collect()
            more = descriptors() - self.descriptors
            attack.expect(more <= 0, f"{more} descriptors stay open")


def tasks() -> list[str]:
    """The tasks that live on this loop."""
    if on_trio():
        import trio

        root = trio.lowlevel.current_root_task()
        found, left = [], [root] if root else []
        while left:
            task = left.pop()
            found.append(str(task.name))
            left.extend(child for nursery in task.child_nurseries for child in nursery.child_tasks)
        return found
    return [str(task.get_coro()) for task in asyncio.all_tasks()]


def descriptors() -> int:
    """How many descriptors this process has open."""
    return len(os.listdir("/dev/fd"))


def on_trio() -> bool:
    return loop.in_trio()


class _Complaints(logging.Handler):
    """Makes a finding of what streamkit says when it has to give something up."""

    def __init__(self, attack: Attack) -> None:
        super().__init__(logging.ERROR)
        self._attack = attack

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if "took more than" in message or "goes on without" in message:
            self._attack.expect(False, f"logged {message!r}")


def run(name: str, loop: str, seed: int, seconds: float) -> None:
    """Run one attack in this process, and print what came of it as a line of JSON."""
    from importlib import import_module

    function: Any = import_module(f"tests.attack.{name}").attack
    attack = Attack(seed, seconds)
    attack.watch(_report)
    logging.getLogger("streamkit").addHandler(_Complaints(attack))
    backend = "trio" if loop == "trio" else "asyncio"
    options = {} if loop == "trio" else {"use_uvloop": loop == "uvloop"}
    try:
        if asyncio.iscoroutinefunction(function):
            anyio.run(function, attack, backend=backend, backend_options=options)
        else:
            function(attack, loop)
    except BaseException as exc:
        traceback.print_exc()
        attack.expect(False, f"ended the attack: {exc!r}")
    _report(attack)
    # Threads that hang must not keep the process.
    os._exit(0)


def _report(attack: Attack) -> None:
    print(json.dumps({"counts": attack.counts, "findings": attack.findings}), flush=True)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
