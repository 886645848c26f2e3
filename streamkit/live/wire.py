"""The connection to Redis that pipelines: one for a process, for all but blocking reads.

It has a thread, so that one way serves asyncio, uvloop and trio. redis-py's own retries are off:
they would append twice. What a connection had under way when it broke fails with `TryAgain`, and
the caller decides whether it may be sent again.
"""

from __future__ import annotations

import logging
import queue
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Any

import anyio

from streamkit import loop
from streamkit.live.errors import LogUnavailable
from streamkit.threads import run_in_stream_thread

try:
    import redis
    from redis import ResponseError
    from redis.backoff import NoBackoff
    from redis.retry import Retry
except ImportError as _missing:
    raise ImportError(
        "RedisLog needs the redis package: pip install 'streamkit[redis]'"
    ) from _missing

__all__ = [
    "FAILURES",
    "Command",
    "Connect",
    "ResponseError",
    "TryAgain",
    "Unsent",
    "Wire",
    "make_connection",
]

logger: logging.Logger = logging.getLogger("streamkit")

Command = Sequence[str | bytes | int | float]
Connect = Callable[[float], Any]

# Commands that go in one round trip.
BATCH = 512
# Seconds without a reply after which another connection is tried, and then this one given up.
PATIENCE = 0.5


# Error replies that answer a question: the id is not above the newest one, there is no such stream.
ANSWERS = re.compile("equal or smaller|no such key")
# Those of a replica, such as a primary becomes by a failover: its address may lead to another one.
REPLICA = re.compile("read only replica|MASTER is down")
# Those that pass: no memory, no disk, no replicas, a script that runs for too long.
PASSING = re.compile("maxmemory|MISCONF|NOREPLICAS|BUSY|Transaction discarded")


class TryAgain(Exception):
    """The connection broke before the reply, or Redis refuses for now: what ran is not known."""


class Unsent(TryAgain):
    """There was no connection, or Redis refused: nothing was appended."""


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
    # What is read is looked up as UTF-8, too.
    kwargs |= {"encoding": "utf-8", "retry": Retry(NoBackoff(), 0), "health_check_interval": 0}
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


FAILURES = (redis.RedisError, OSError)


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
        self.contact_since: float = monotonic()
        self._wake = loop.threadsafe(self._deliver)
        self._thread = threading.Thread(target=self._run, name="streamkit-redis", daemon=True)
        self._thread.start()

    async def call(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        """The replies; an error reply that answers a question is a `ResponseError` among them.

        Raises `TryAgain`, `TimeoutError`, and `LogUnavailable` for any other error reply.
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
        await run_in_stream_thread(self._thread.join, 1.0)

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
                    self._wait_for_reply(connection)
                    call.replies.append(_reply(connection))
                call.error = _refusal(call.replies)
                if isinstance(call.error, TryAgain):
                    self.contact_since = monotonic()
        except Exception as exc:
            self._disconnect()
            self.contact_since = monotonic()
            error = exc
            if isinstance(exc, FAILURES):
                error = TryAgain(str(exc)) if sent else Unsent(str(exc))
            for call in batch:
                call.error = error

    def _wait_for_reply(self, connection: Any) -> None:
        """Wait for its first bytes; raises where they don't come from a Redis that could send them.

        A network may forget a connection, or an address come to lead elsewhere, without a word. A
        Redis that is merely slow answers no other connection either, and is waited for.
        """
        until = monotonic() + self._timeout
        while not connection.can_read(PATIENCE):
            if monotonic() > until or (self._is_answered() and not connection.can_read(PATIENCE)):
                raise redis.TimeoutError("Redis gave no answer")

    def _is_answered(self) -> bool:
        """Whether Redis answers a new connection."""
        try:
            other = self._connect(PATIENCE)
            try:
                other.send_command("PING", check_health=False)
                other.read_response()
            finally:
                other.disconnect()
        except FAILURES:
            return False
        return True

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.disconnect()


def _reply(connection: Any) -> Any:
    try:
        return connection.read_response()
    except ResponseError as exc:
        if REPLICA.search(str(exc)):
            raise
        return exc


def _refusal(replies: list[Any]) -> Exception | None:
    """What the caller is told of the first error reply that answers nothing."""
    for reply in replies:
        # That of a transaction is a list of replies.
        for each in reply if isinstance(reply, list) else (reply,):
            if isinstance(each, ResponseError) and not ANSWERS.search(text := str(each)):
                if not PASSING.search(text):
                    return LogUnavailable(text)
                # To append gives an id.
                appended = any(isinstance(reply, bytes) for reply in replies)
                return TryAgain(text) if appended else Unsent(text)
    return None
