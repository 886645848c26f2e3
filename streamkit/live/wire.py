"""Two connections to Redis for a process: one that blocks for all reading, one that pipelines.

Each has a thread, so that one way serves asyncio, uvloop and trio. redis-py's own retries are off:
they would append twice. What a connection had under way when it broke fails with `ConnectionLost`,
and whoever asked decides whether it may be sent again.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import anyio

from streamkit import loop

try:
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as exc:
    raise ImportError("RedisLog needs the redis package: pip install 'streamkit[redis]'") from exc

__all__ = ["Command", "ConnectionLost", "Link", "Unsent", "Wire", "make_connection"]

logger = logging.getLogger("streamkit")

Command = Sequence[str | bytes | int | float]
Connect = Callable[[float], Any]

# Commands that go in one round trip.
BATCH = 512
# Seconds after which a reply is so late that leases may have run out meanwhile.
STALLED = 0.25
# Seconds that the reading connection blocks, and records it takes of one stream at once.
BLOCK = 5.0
COUNT = 1024
# Records of one reply after which a channel may have been trimmed before the next.
SUSPICIOUS = 64
# Replies that may wait for the loop before the reading thread does.
BACKLOG = 64


class ConnectionLost(Exception):
    """The connection broke before the reply: whether the commands ran is not known."""


class Unsent(ConnectionLost):
    """There was no connection: the commands did not run."""


def make_connection(source: Any) -> Connect:
    """A function that makes a connection with a timeout in seconds, from a URL or a client."""
    if isinstance(source, str):
        pool = redis.ConnectionPool.from_url(source)
    elif isinstance(source, redis.Redis):
        pool = source.connection_pool
    else:
        raise TypeError(
            f"RedisLog takes a URL such as 'redis://localhost' or a redis.Redis client, got "
            f"{type(source).__name__}; of an async client pass the URL"
        )
    kwargs = {**pool.connection_kwargs, "protocol": 2, "decode_responses": False}
    kwargs |= {"retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
    kwargs.pop("retry_on_error", None)
    kwargs.pop("retry_on_timeout", None)
    kwargs.pop("maint_notifications_config", None)
    kwargs.pop("event_dispatcher", None)
    kind: Any = pool.connection_class

    def connect(timeout: float) -> Any:
        limits = {"socket_timeout": timeout, "socket_connect_timeout": min(timeout, 3.0)}
        connection = kind(**(kwargs | limits))
        connection.connect()
        return connection

    return connect


_FAILURES = (redis.ConnectionError, redis.TimeoutError, OSError)


class _Call:
    """Commands that go together, and their replies."""

    __slots__ = ("abandoned", "commands", "done", "error", "replies")

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands
        self.done = anyio.Event()
        self.replies: list[Any] = []
        self.error: Exception | None = None
        self.abandoned = False


class Wire:
    """The pipelined connection: what is asked for while a reply is awaited goes together."""

    def __init__(self, connect: Connect, timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._finished: deque[_Call] = deque()
        self._connection: Any = None
        self.contact_since = monotonic()
        self._wake = loop.threadsafe(self._deliver)
        self._thread = threading.Thread(target=self._run, name="streamkit-redis", daemon=True)
        self._thread.start()

    async def call(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies; an error reply is a `redis.ResponseError` among them.

        Raises `ConnectionLost`, and `TimeoutError`.
        """
        call = _Call(commands)
        self._calls.put(call)
        try:
            with anyio.fail_after(timeout):
                await call.done.wait()
        except BaseException:
            call.abandoned = True
            raise
        if call.error is not None:
            raise call.error
        return call.replies

    def post(self, commands: Sequence[Command]) -> None:
        """Send commands without waiting for the replies; from the loop's thread."""
        self._calls.put(_Call(commands))

    def close(self) -> None:
        """End the thread, once it has done what it was asked for."""
        self._calls.put(None)

    async def join(self) -> None:
        """Wait for its end, for a moment."""
        await anyio.to_thread.run_sync(self._thread.join, 1.0)

    # on the loop

    def _deliver(self) -> None:
        while self._finished:
            self._finished.popleft().done.set()

    # on the thread

    def _run(self) -> None:
        closing = False
        while not closing:
            batch = []
            call = self._calls.get()
            size = 0
            while call is not None:
                if not call.abandoned:
                    batch.append(call)
                    size += len(call.commands)
                if size >= BATCH or self._calls.empty():
                    break
                call = self._calls.get()
            closing = call is None
            if batch:
                self._send(batch)
                self._finished.extend(batch)
                self._wake()
        self._disconnect()

    def _send(self, batch: list[_Call]) -> None:
        sent = False
        began = monotonic()
        try:
            if self._connection is None:
                self._connection = self._connect(self._timeout)
                self.contact_since = monotonic()
            connection = self._connection
            packed = connection.pack_commands([c for call in batch for c in call.commands])
            sent = True
            connection.send_packed_command([b"".join(packed)], check_health=False)
            for call in batch:
                for _ in call.commands:
                    call.replies.append(_reply(connection))
        except Exception as exc:
            self._disconnect()
            self.contact_since = monotonic()
            error = exc
            if isinstance(exc, (*_FAILURES, redis.RedisError)):
                error = ConnectionLost(str(exc)) if sent else Unsent(str(exc))
            for call in batch:
                call.error = error
        if monotonic() - began > STALLED:
            self.contact_since = monotonic()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.disconnect()


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except redis.ResponseError as exc:
        return exc


def _numbers(raw: bytes) -> tuple[int, ...]:
    return tuple(map(int, raw.split(b"-")))


Entries = list[tuple[bytes, list[bytes]]]


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
        on_entries: Callable[[bytes, Entries, bool], None],
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
        self.contact_since = monotonic()
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
        await anyio.to_thread.run_sync(self._thread.join, 0.5)
        if self._thread.is_alive() and (connection := self._connection) is not None:
            with suppress(Exception):
                connection.disconnect()
            await anyio.to_thread.run_sync(self._thread.join, 1.0)

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
                if not isinstance(exc, (*_FAILURES, redis.RedisError)):
                    logger.exception("reading from Redis failed")
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
                self._took(key, entries, streams[key], False)

    def _read_checked(self, key: bytes, last: bytes) -> None:
        """Read at once, and see whether the last record that was read is still there."""
        connection = self._connection
        commands: list[Command] = [
            ("MULTI",),
            ("XRANGE", key, last, last),
            ("XREAD", "COUNT", COUNT, "STREAMS", key, last),
            ("EXEC",),
        ]
        connection.send_packed_command(connection.pack_commands(commands), check_health=False)
        for _ in commands[:-1]:
            connection.read_response()
        found, read = connection.read_response()
        entries = read[0][1] if read else []
        missed = not found and last != b"0-0" and bool(entries)
        if entries:
            self._took(key, entries, last, missed)

    def _took(self, key: bytes, entries: Entries, after: bytes, missed: bool) -> None:
        with self._lock:
            if self._last.get(key) != after:
                return
            self._last[key] = entries[-1][0]
            if len(entries) >= SUSPICIOUS and key in self._channels:
                self._suspicious.add(key)
        self._post(lambda: self._on_entries(key, entries, missed))

    def _post(self, function: Callable[[], None]) -> None:
        with self._lock:
            self._replies.append(function)
            # The loop is busy: Redis keeps what comes.
            while len(self._replies) > BACKLOG and not self._closing:
                self._wake_loop()
                self._lock.wait(1.0)
        self._wake_loop()
