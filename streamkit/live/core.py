"""What `Live`, its runs, channels and readers share: the log, the tails, the producers."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import anyio

from streamkit import loop
from streamkit.live.errors import LogUnavailable, UnknownStream
from streamkit.live.keeper import CANCELLED, LOST, Keeper
from streamkit.live.log import FIRST, Info, Log
from streamkit.live.producer import Producer
from streamkit.live.records import Payload, end_payload, end_state
from streamkit.live.tail import Hub, Tail

__all__ = ["Core", "in_time"]

logger: logging.Logger = logging.getLogger("streamkit")

# Seconds that the contents of runs have to be closed once they are cancelled, as in
# `graceful_shutdown`.
CLOSING = 0.5

SHUTDOWN = end_payload("failed", "shutdown")


@contextmanager
def in_time() -> Iterator[None]:
    """Bounds what comes before the start of a response."""
    with anyio.move_on_after(FIRST) as scope:
        yield
    if scope.cancelled_caught:
        raise LogUnavailable(f"it gave no answer for {FIRST:g} seconds")


class Core:
    """The inside of a `Live`; on its loop's thread only."""

    def __init__(self, log: Log, *, ttl: float, lease: float, grace: float) -> None:
        self.log = log
        self.ttl = ttl
        self.lease = lease
        self.grace = grace
        self.producers: dict[str, Producer] = {}
        self.is_running: bool = False
        # Items that were published without a turn of the loop for their readers.
        self.in_a_row = 0
        self._hub = Hub(log)
        self._keeper: Keeper | None = None
        self._stopping_since: float | None = None
        self._calls: deque[Callable[[], None]] = deque()
        self._wake: Callable[[], None] = self._call
        self._thread = 0
        self._none_left: anyio.Event | None = None

    def check_running(self) -> None:
        """Raise outside of `async with live`."""
        if not self.is_running:
            raise RuntimeError(
                "this Live is not running: FastAPI(lifespan=live.lifespan), or `async with live` "
                "in a lifespan of your own; that of an app which is mounted in another never runs"
            )

    async def start(self) -> None:
        """Open the log and begin to keep leases."""
        if self.is_running:
            raise RuntimeError("this Live is running already; one `async with` at a time")
        await self.log.open()
        self._wake = loop.threadsafe(self._call)
        self._thread = threading.get_ident()
        self._stopping_since = None
        self.is_running = True
        self._keeper = Keeper(self)

    @property
    def is_here(self) -> bool:
        """Whether its loop has this thread, and would wait with it."""
        return threading.get_ident() == self._thread

    def call_soon_threadsafe(self, function: Callable[[], None]) -> None:
        """Call a function on the loop, from any thread."""
        self._calls.append(function)
        self._wake()

    def _call(self) -> None:
        while self._calls:
            self._calls.popleft()()

    async def stop(self) -> None:
        """End the runs of this process, then close the log."""
        await self.stop_runs()
        self.is_running = False
        assert self._keeper is not None
        await self._keeper.stop()
        for tail in tuple(self._hub.tails.values()):
            tail.is_produced_here = False
            tail.fail(LogUnavailable("the app has shut down"))
        await self.log.aclose()

    async def stop_runs(self) -> None:
        """Give the runs of this process their grace, then close them and mark them failed."""
        if self._stopping_since is None:
            self._stopping_since = monotonic()
        with anyio.move_on_after(self._stopping_since + self.grace - monotonic()):
            await self._wait_for_runs()
        for producer in tuple(self.producers.values()):
            producer.stop(SHUTDOWN)
        with anyio.move_on_after(CLOSING):
            await self._wait_for_runs()
        for producer in tuple(self.producers.values()):
            logger.error("the content of run %r took too long to close", producer.run)
            producer.kill()
        with anyio.move_on_after(CLOSING):
            await self._wait_for_runs()

    async def _wait_for_runs(self) -> None:
        while self.producers:
            self._none_left = anyio.Event()
            await self._none_left.wait()

    # streams

    async def info(self, name: str, *, channel: bool) -> Info | None:
        """What there is of a stream, in the log or, once that has failed, here."""
        try:
            with in_time():
                return await self.log.info(name, channel=channel)
        except LogUnavailable:
            tail = self._hub.find(name, channel=channel)
            if tail is None or not tail.is_produced_here or tail.base:
                raise
            return Info(tail.start, tail.last)

    @property
    def tails(self) -> dict[tuple[bool, str], Tail]:
        """The streams that are followed here: whether it is a channel, and its name."""
        return self._hub.tails

    def find(self, name: str, channel: bool) -> Tail | None:
        """The tail of a stream that is followed here."""
        return self._hub.find(name, channel=channel)

    def begin(self, run: str, origin: str) -> None:
        """A run begins here: an older one of its name is over."""
        self._hub.begin(run, origin)

    async def hold(self, name: str, info: Info, *, channel: bool = False, keep: int = 0) -> Tail:
        """A tail, until `release`."""
        return await self._hub.hold(name, info, channel=channel, keep=keep)

    def release(self, tail: Tail) -> None:
        """Give a tail back."""
        self._hub.release(tail)

    async def hold_for_reader(self, name: str, info: Info, channel: bool, keep: int) -> Tail:
        """A tail for a reader, who counts as one until `release_reader`."""
        tail = await self.hold(name, info, channel=channel, keep=keep)
        tail.readers += 1
        if not channel and info.end is None:
            tail.linger = info.linger
            if (producer := self._producer_of(tail)) is not None:
                producer.unread_since = None
                producer.had_reader = True
            elif self.log.remote and tail.readers == 1 and self._keeper is not None:
                self.change()
                try:
                    if info.linger is not None:
                        await self._keeper.attend(name)
                except BaseException:
                    self.release_reader(tail)
                    raise
        return tail

    def change(self) -> None:
        """Something may be due earlier than was thought."""
        if self._keeper is not None:
            self._keeper.change()

    def release_reader(self, tail: Tail) -> None:
        """A reader leaves."""
        tail.readers -= 1
        producer = self._producer_of(tail)
        if producer is not None and not tail.readers:
            producer.unread_since = monotonic()
            if producer.linger == 0 and not self.log.remote:
                producer.stop(CANCELLED)
            elif producer.linger is not None:
                self.change()
        self.release(tail)

    async def end(self, name: str, payload: Payload) -> str | None:
        """End a run, wherever its producer is; how it has ended, or None for an unknown one."""
        record = await self.log.end(name, payload, ttl=self.ttl)
        if record is None:
            return None
        if (tail := self._hub.find(name)) is not None:
            tail.feed([record])
        return end_state(record)[0]

    async def cancel(self, name: str) -> str | None:
        """End a run as cancelled; if it is produced here, wait until its content is closed."""
        producer = self.producers.get(name)
        if producer is None:
            return await self.end(name, CANCELLED)
        try:
            state = await self.end(name, CANCELLED)
        finally:
            # The log may be away, or have lost the run; else the end has stopped it.
            producer.stop(CANCELLED)
        await producer.closed.wait()
        return state or _state_of(producer.tail)

    async def state(self, name: str) -> str | None:
        """ "running", or how a run ended; None for an unknown one."""
        info = await self.info(name, channel=False)
        if info is None:
            return None
        if info.end is not None:
            return end_state(info.end)[0]
        if name not in self.producers and not await self.log.is_alive(name, lease=self.lease):
            return await self.end(name, LOST)
        return "running"

    async def wait(self, name: str) -> str:
        """Wait for the end of a run, without counting as a reader; how it has ended."""
        self.check_running()
        producer = self.producers.get(name)
        if producer is not None:
            await producer.closed.wait()
            return _state_of(producer.tail)
        info = await self.info(name, channel=False)
        if info is None:
            raise UnknownStream(name)
        if info.end is not None:
            return end_state(info.end)[0]
        tail = await self.hold(name, info)
        self.change()
        try:
            signal = loop.make_signal()
            while tail.end is None and tail.error is None:
                await tail.wait(signal)
        finally:
            self.release(tail)
        return _state_of(tail)

    # producers

    def produce(self, producer: Producer) -> None:
        """Begin to drive a content."""
        self.producers[producer.run] = producer
        producer.start()
        self.change()

    def _producer_of(self, tail: Tail) -> Producer | None:
        producer = None if tail.is_channel else self.producers.get(tail.name)
        return producer if producer is not None and producer.tail is tail else None

    def closed(self, producer: Producer) -> None:
        """A producer has closed its content and written its end."""
        if self.producers.get(producer.run) is producer:
            del self.producers[producer.run]
        producer.tail.on_end = None
        self.release(producer.tail)
        if not self.producers and self._none_left is not None:
            self._none_left.set()


def _state_of(tail: Tail) -> str:
    if tail.end is None:
        assert tail.error is not None
        raise tail.error
    return end_state(tail.end)[0]
