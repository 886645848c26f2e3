"""The connection to Redis that blocks: one for a process, for all streams followed in it."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Any

from streamkit import loop
from streamkit.live.log import WINDOW
from streamkit.live.redis_ids import Entry, floor_of, show
from streamkit.live.wire import FAILURES, Command, Connect
from streamkit.threads import run_in_stream_thread

__all__ = ["Entries", "Link"]

logger: logging.Logger = logging.getLogger("streamkit")

# Seconds that it blocks, and records it takes of one stream at once: no more than a channel keeps.
BLOCK = 5.0
COUNT = WINDOW
# Replies that may wait for the loop before the thread does.
BACKLOG = 64


def _numbers(raw: bytes) -> tuple[int, ...]:
    return tuple(map(int, raw.split(b"-")))


Entries = list[Entry]


class Link:
    """The blocking connection: one XREAD for all streams that are followed in this process.

    It also reads a stream of its own, into which `Wire` adds to wake it. All ids are explicit, so
    that nothing is lost between two reads, and a broken connection is simply made anew.
    """

    def __init__(
        self,
        connect: Connect,
        wake_key: str,
        timeout: float,
        on_entries: Callable[[bytes, bytes, Entries, bool], None],
        on_failure: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._wake_key = wake_key.encode()
        self._timeout = timeout
        self._on_entries = on_entries
        self._on_failure = on_failure
        # The last id of each key; the lock guards it, and what waits for the loop.
        self._lock = threading.Condition()
        self._last: dict[bytes, bytes] = {}
        self._channels: set[bytes] = set()
        self._suspicious: set[bytes] = set()
        self._replies: deque[Callable[[], None]] = deque()
        self._wake_id = b"0-0"
        self._connection: Any = None
        self._closing = False
        self.contact_since: float = monotonic()
        self._wake_loop = loop.threadsafe(self._deliver)
        self._thread = threading.Thread(target=self._run, name="streamkit-redis-read", daemon=True)
        self._thread.start()

    def add(self, key: bytes, after: bytes, is_channel: bool) -> None:
        """Read a key as well; whoever calls this adds to the wake stream afterwards."""
        with self._lock:
            known = self._last.get(key)
            # Read again for the one who begins earlier.
            self._last[key] = after if known is None else min(known, after, key=_numbers)
            if is_channel:
                self._channels.add(key)
                self._suspicious.add(key)

    def remove(self, key: bytes) -> None:
        """Read it no more."""
        with self._lock:
            self._last.pop(key, None)
            self._channels.discard(key)
            self._suspicious.discard(key)

    def close(self) -> None:
        """End the thread; whoever calls this adds to the wake stream afterwards."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()

    async def join(self) -> None:
        """Wait for its end; a Redis that doesn't answer is left alone."""
        await run_in_stream_thread(self._thread.join, 0.5)
        if self._thread.is_alive() and (connection := self._connection) is not None:
            with suppress(Exception):
                connection.disconnect()
            await run_in_stream_thread(self._thread.join, 1.0)

    # on the loop

    def _deliver(self) -> None:
        with self._lock:
            replies, self._replies = self._replies, deque()
            self._lock.notify_all()
        for function in replies:
            function()

    # on the thread

    def _run(self) -> None:
        failing_since: float | None = None
        pause = 0.02
        while not self._closing:
            try:
                if self._connection is None:
                    self._connection = self._connect(BLOCK + min(self._timeout, BLOCK))
                    self.contact_since = monotonic()
                self._read()
                failing_since, pause = None, 0.02
            except Exception as exc:
                if self._closing:
                    break
                now = self.contact_since = monotonic()
                if not isinstance(exc, FAILURES):
                    logger.exception("reading from Redis failed")
                elif failing_since is None:
                    logger.warning("reading from Redis failed, and is tried again: %s", exc)
                failing_since = failing_since or now
                connection, self._connection = self._connection, None
                if connection is not None:
                    with suppress(Exception):
                        connection.disconnect()
                with self._lock:
                    # What was trimmed meanwhile must not be missed silently.
                    self._suspicious |= self._channels
                if now - failing_since >= self._timeout:
                    failing_since = now
                    why = str(exc)
                    self._post(lambda why=why: self._on_failure(why))  # type: ignore[misc]
                with self._lock:
                    self._lock.wait(pause)
                pause = min(pause * 2, 0.5)
        if self._connection is not None:
            with suppress(Exception):
                self._connection.disconnect()

    def _read(self) -> None:
        with self._lock:
            suspicious = {key: self._last[key] for key in self._suspicious if key in self._last}
            self._suspicious.clear()
        for key, last in suspicious.items():
            self._read_checked(key, last)
        with self._lock:
            streams = dict(self._last)
        connection = self._connection
        connection.send_command(
            *("XREAD", "COUNT", COUNT, "BLOCK", int(BLOCK * 1000), "STREAMS"),
            *(self._wake_key, *streams, self._wake_id, *streams.values()),
            check_health=False,
        )
        for key, entries in connection.read_response() or ():
            if key == self._wake_key:
                self._wake_id = entries[-1][0]
            else:
                self._took(key, entries, streams[key])

    def _read_checked(self, key: bytes, last: bytes) -> None:
        """Read at once, and see whether something is missing after the last that was read."""
        connection = self._connection
        commands: list[Command] = [
            ("MULTI",),
            ("XRANGE", key, last, last),
            ("XINFO", "STREAM", key),
            ("XREAD", "COUNT", COUNT, "STREAMS", key, last),
            ("EXEC",),
        ]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        for _ in commands[:-1]:
            connection.read_response()
        found, about, read = connection.read_response()
        entries = read[0][1] if read else []
        if entries:
            self._took(key, entries, last, not found and show(last) != floor_of(about)[0])

    def _took(self, key: bytes, entries: Entries, after: bytes, missed: bool | None = None) -> None:
        """Take what comes after an id; `missed` is None if that was not looked at."""
        with self._lock:
            if self._last.get(key) != after:
                return
            if len(entries) >= COUNT and key in self._channels:
                # It has as many as a channel keeps: those before them may have been trimmed.
                self._suspicious.add(key)
                if missed is None:
                    return
            self._last[key] = entries[-1][0]
        self._post(lambda: self._on_entries(key, after, entries, bool(missed)))

    def _post(self, function: Callable[[], None]) -> None:
        with self._lock:
            self._replies.append(function)
            # The loop is busy: Redis keeps what comes.
            while len(self._replies) > BACKLOG and not self._closing:
                self._wake_loop()
                if not self._lock.wait(1.0):
                    # By its age a record is trimmed after a second at the earliest.
                    self._suspicious |= self._channels
        self._wake_loop()
