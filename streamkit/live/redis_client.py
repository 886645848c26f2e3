"""What `RedisLog` does all else with: connections, keys, commands, subscriptions."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from time import monotonic
from typing import Any

import anyio

from streamkit.live.errors import LogUnavailable
from streamkit.live.link import Entries, Link
from streamkit.live.log import Sink
from streamkit.live.redis_ids import LONGEST, before, hide, is_whole, record_of, show
from streamkit.live.wire import Command, TryAgain, Unsent, Wire, make_connection

__all__ = ["RedisClient"]

# Seconds between two tries.
PAUSES = (0.02, 0.05, 0.1, 0.2, 0.4, 0.5)


class RedisClient:
    """Two connections, and the streams that are followed in this process."""

    def __init__(
        self, url_or_client: Any, *, prefix: str = "streamkit:", timeout: float = 30.0
    ) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"prefix must be str, got {type(prefix).__name__}")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float):
            raise TypeError(f"timeout must be a number of seconds, got {timeout!r}")
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, got {timeout!r}")
        self._connect = make_connection(url_or_client)
        self._prefix = prefix
        self._timeout = min(float(timeout), LONGEST)
        # Of this process: whoever made this may have forked since.
        self._process = ""
        self._wire: Wire | None = None
        self._link: Link | None = None
        # Who follows a stream in this process, and the last id each was given.
        self._sinks: dict[bytes, dict[Sink, str]] = {}

    async def open(self) -> None:
        self._process = secrets.token_hex(8)
        self._wake_key = f"{self._prefix}wake:{self._process}"
        self._wire = Wire(self._connect, self._timeout)
        self._link = Link(
            self._connect, self._wake_key, self._timeout, self._on_entries, self._on_failure
        )

    async def aclose(self) -> None:
        wire, link = self._wire, self._link
        if wire is None or link is None:
            return
        link.close()
        self._wake()
        wire.post([("DEL", self._wake_key)])
        wire.close()
        with anyio.CancelScope(shield=True):
            await link.join()
            await wire.join()
        self._wire = self._link = None
        self._sinks.clear()

    # commands

    def _key(self, stream: str, channel: bool) -> str:
        return self._channel_key(stream) if channel else self._run_key(stream)

    def _run_key(self, run: str) -> str:
        return f"{self._prefix}run:{run}"

    def _channel_key(self, channel: str) -> str:
        return f"{self._prefix}channel:{channel}"

    def _lease_key(self, token: str) -> str:
        return f"{self._prefix}lease:{token}"

    async def _ask(
        self,
        commands: Sequence[Command] | Callable[[], Sequence[Command]],
        timeout: float | None = None,
        before_again: Callable[[], Any] | None = None,
    ) -> list[Any]:
        """The replies to commands, which are sent again until the timeout where that may help.

        They must bear that, unless `before_again` sees to it. Of the error replies only those are
        given that answer a question.
        """
        if self._wire is None:
            raise LogUnavailable("it is not open")
        seconds = self._timeout if timeout is None else min(timeout, self._timeout)
        until = monotonic() + seconds
        uncertain = False
        for attempt in count():
            try:
                if uncertain and before_again is not None:
                    await before_again()
                uncertain = False
                asked = commands() if callable(commands) else commands
                return await self._wire.call(asked, max(until - monotonic(), 0.001))
            except TryAgain as exc:
                uncertain = uncertain or not isinstance(exc, Unsent)
                pause = PAUSES[min(attempt, len(PAUSES) - 1)]
                if monotonic() + pause >= until:
                    raise LogUnavailable(str(exc)) from exc
                await anyio.sleep(pause)
            except TimeoutError as exc:
                raise LogUnavailable(f"Redis gave no answer for {seconds:g} seconds") from exc
        raise AssertionError  # pragma: no cover - count() has no end

    # subscriptions

    async def subscribe(
        self, stream: str, after: str, sink: Sink, *, channel: bool = False
    ) -> Callable[[], None]:
        if self._link is None:
            raise LogUnavailable("it is not open")
        key = self._key(stream, channel).encode()
        self._sinks.setdefault(key, {})[sink] = after
        self._link.add(key, hide(after).encode(), channel)
        self._wake()

        return partial(self._unsubscribe, key, sink)

    def _unsubscribe(self, key: bytes, sink: Sink) -> None:
        sinks = self._sinks.get(key, {})
        if sinks.pop(sink, None) is not None and not sinks:
            del self._sinks[key]
            if self._link is not None:
                self._link.remove(key)

    def _wake(self) -> None:
        assert self._wire is not None
        self._wire.post(
            [
                ("XADD", self._wake_key, "MAXLEN", 1, "*", "w", 1),
                ("PEXPIRE", self._wake_key, 60_000),
            ]
        )

    def _on_entries(self, key: bytes, after: bytes, entries: Entries, missed: bool) -> None:
        records = [record_of(entry) for entry in entries]
        is_run = key.startswith(self._run_key("").encode())
        sinks = self._sinks.get(key, {})
        for sink, last in tuple(sinks.items()):
            new = [record for record in records if record.id > last]
            if not new or last < show(after):
                # Who came while this reply waited for the loop has all that it lacks read again.
                continue
            if is_run and not is_whole(entries[-len(new) :], last):
                self._unsubscribe(key, sink)
                sink.fail(LogUnavailable("Redis has lost items of the run"))
                continue
            if missed and new == records:
                sink.miss(before(entries[0][0]))
            sinks[sink] = new[-1].id
            sink.feed(new)

    def _on_failure(self, why: str) -> None:
        error = LogUnavailable(why)
        for sinks in tuple(self._sinks.values()):
            for sink in tuple(sinks):
                sink.fail(error)
