"""Leases and lingering: one task for all runs that are produced or followed in this process."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

import anyio

from streamkit import loop
from streamkit.live.errors import LogUnavailable
from streamkit.live.log import Log
from streamkit.live.producer import Producer
from streamkit.live.records import Payload, end_payload
from streamkit.live.tail import Tail

__all__ = ["CANCELLED", "LOST", "Keeper"]

logger: logging.Logger = logging.getLogger("streamkit")

# The part of a lease after which it is renewed, and looked at by others.
FRACTION = 4

LOST = end_payload("failed", "producer lost")
CANCELLED = end_payload("cancelled", "cancelled")


class Kept(Protocol):
    """What is kept: the runs, their log and its times."""

    log: Log
    ttl: float
    lease: float
    producers: dict[str, Producer]

    @property
    def tails(self) -> dict[tuple[bool, str], Tail]: ...
    def find(self, name: str, channel: bool) -> Tail | None: ...
    async def end(self, name: str, payload: Payload) -> str | None: ...


class Keeper:
    """Renews the leases of runs produced here, watches those of others, ends what lingers."""

    def __init__(self, core: Kept) -> None:
        self._core = core
        self._changed = loop.make_signal()
        # When leases are to be looked at next.
        self._lease_due = 0.0
        self._stopped = False
        self._ended = anyio.Event()
        self._task = loop.spawn(self._run)

    def change(self) -> None:
        """Something may be due earlier than was thought."""
        self._changed.set()

    async def stop(self) -> None:
        """End the task, whatever it waits for: the log may not answer."""
        self._stopped = True
        self._task.cancel()
        await self._ended.wait()

    async def _run(self) -> None:
        try:
            while not self._stopped:
                due = self._next_due()
                if due > 0:
                    await self._changed.wait(None if due == math.inf else due)
                    continue
                try:
                    await self._look_after_all()
                except Exception:
                    logger.exception("leases could not be renewed")
                    self._lease_due = monotonic() + self._core.lease / FRACTION
        finally:
            self._ended.set()

    def _next_due(self) -> float:
        """In how many seconds something has to be looked after."""
        now, due = monotonic(), math.inf
        if self._core.log.remote and (self._core.producers or self._core.tails):
            self._lease_due = min(self._lease_due, now + self._core.lease / FRACTION)
            due = self._lease_due - now
        for producer in self._core.producers.values():
            due = min(due, self._end_due(producer) - now)
        return due

    def _end_due(self, producer: Producer) -> float:
        """When a run ends unless it gets a reader."""
        if not producer.lingers or producer.unread_since is None:
            return math.inf
        return producer.unread_since + self._patience(producer)

    def _patience(self, producer: Producer) -> float:
        if producer.linger == 0 and not producer.had_reader:
            return self._core.lease
        linger = producer.linger or 0.0
        # Readers elsewhere are asked for, which is not done all the time.
        return max(linger, self._core.lease / FRACTION) if self._core.log.remote else linger

    async def _look_after_all(self) -> None:
        jobs: list[tuple[Callable[[str], Coroutine[Any, Any, None]], str]] = []
        now = monotonic()
        looks = self._core.log.remote and now >= self._lease_due
        if looks:
            self._lease_due = now + self._core.lease / FRACTION
            jobs += [(self._renew, producer.run) for producer in self._core.producers.values()]
            for (is_channel, name), tail in self._core.tails.items():
                if not is_channel and name not in self._core.producers and tail.end is None:
                    jobs.append((self._watch, name))
        for producer in self._core.producers.values():
            # Readers elsewhere are asked for with each look, and at the end.
            if (due := self._end_due(producer)) <= now or (looks and due < math.inf):
                jobs.append((self._check_linger, producer.run))
        # Together, so that they go in one round trip.
        async with anyio.create_task_group() as group:
            for function, name in jobs:
                group.start_soon(function, name)

    async def _renew(self, run: str) -> None:
        await self._quietly(self._core.log.renew(run, ttl=self._core.ttl, lease=self._core.lease))

    async def attend(self, run: str) -> None:
        """Say that a reader is here, if the log answers."""
        await self._quietly(self._core.log.attend(run, lease=self._core.lease))

    async def _quietly(self, job: Awaitable[None]) -> None:
        # Readers and publishers are told of it; leases wait for the log to come back.
        with suppress(LogUnavailable):
            await job

    async def _watch(self, run: str) -> None:
        """Look whether the producer of a run that is followed here still lives."""
        tail = self._core.find(run, False)
        if tail is None:
            return
        try:
            if tail.readers and tail.linger is not None:
                await self._core.log.attend(run, lease=self._core.lease)
            if await self._core.log.is_alive(run, lease=self._core.lease):
                return
            if await self._core.end(run, LOST) is None:
                # The log has lost the run, or it has expired.
                tail.fail(LogUnavailable("the run is no longer in the log"))
        except LogUnavailable:
            pass

    async def _check_linger(self, run: str) -> None:
        producer = self._core.producers.get(run)
        if producer is None or producer.unread_since is None:
            return
        try:
            if self._core.log.remote and await self._core.log.is_attended(run):
                producer.unread_since = monotonic()
                producer.had_reader = True
                return
        except LogUnavailable:
            # There may be readers.
            producer.unread_since = monotonic()
            return
        since = producer.unread_since
        if since is not None and monotonic() - since >= self._patience(producer):
            producer.stop(CANCELLED)
