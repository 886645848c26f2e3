"""Open streams must not hold a server's shutdown: they are told of it, and cut after a while."""

from __future__ import annotations

import logging
import signal
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import Any, Protocol

import anyio
import anyio.lowlevel
from starlette.types import Scope

from streamkit import loop
from streamkit.asgi.connection import connection_of, drop, reset
from streamkit.asgi.listeners import Address, Listeners, address_of

__all__ = ["OpenStream", "Shutdown", "forget", "graceful_shutdown", "register"]

logger: logging.Logger = logging.getLogger("streamkit")

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGBREAK") if hasattr(signal, name)
)
# Seconds that streams get, once they are cut, to close what they hold.
CLOSING = 0.5
# Seconds between two looks whether the server still listens.
LOOK = 0.25


class OpenStream(Protocol):
    """A response on its way; both methods are called on the loop's thread."""

    scope: Scope

    def shut_down(self) -> None:
        """The app begins to shut down: say farewell, or go on."""

    def cut(self, closing: float) -> None:
        """The grace is over: end at once; `closing` seconds are left to close the content."""


class Shutdown:
    """Whether the app is shutting down, for contents that want to end by themselves.

    `requested` may be read from any thread. Made by `graceful_shutdown`.

        while not shutdown.requested:
            yield reading()
    """

    def __init__(self, grace: float) -> None:
        self._loop = anyio.lowlevel.current_token()
        self.requested: bool = False
        self._grace = grace
        self._streams: set[OpenStream] = set()
        self._listeners: dict[Address, Listeners] = {}
        self._timer: loop.Timer | None = None
        self._is_over = False
        self._closed = False
        self._begun = anyio.Event()
        self._signal = loop.make_signal()
        # The handlers that were there: at first, and later, when there were others.
        self._chained: defaultdict[int, list[Any]] = defaultdict(list)
        self._depth = 0
        # What would have ended the process, and does so once the streams have ended.
        self._postponed: list[int] = []

    def request(self) -> None:
        """Begin to shut the streams down, as a signal does; callable from any thread.

        For a server that neither gets a signal nor closes its sockets first, and for tests.
        """
        self.requested = True
        self._signal.set_threadsafe()

    async def wait(self) -> None:
        """Return when the shutdown begins."""
        await self._begun.wait()

    def _add(self, stream: OpenStream) -> None:
        """A stream begins."""
        self._streams.add(stream)
        # A server may have set handlers of its own after the app's startup.
        self._chain_signals()
        self._watch_listeners(address_of(stream.scope))
        if self.requested:
            stream.shut_down()
        if self._is_over:
            stream.cut(CLOSING)

    def _remove(self, stream: OpenStream) -> None:
        """A stream has ended, and its content is closed."""
        self._streams.discard(stream)
        if self.requested and not self._streams:
            self._signal.set()

    def _watch_listeners(self, address: Address | None) -> None:
        """While streams are open, look whether the server still accepts."""
        if address is not None and address not in self._listeners:
            self._listeners[address] = Listeners(address)
        if self._timer is None and not self.requested and any(self._listeners.values()):
            self._timer = loop.call_at(loop.clock()() + LOOK, self._look)

    def _look(self) -> None:
        self._timer = None
        if any(listeners.closed() for listeners in self._listeners.values()):
            self.request()
        elif self._streams:
            self._watch_listeners(None)

    async def _run(self) -> None:
        """Wait for the request, then see to it that all streams end."""
        while not self.requested:
            await self._signal.wait()
        self._begun.set()
        for stream in tuple(self._streams):
            stream.shut_down()
        await self._wait_until_ended(self._grace)
        self._is_over = True
        left = tuple(self._streams)
        if left:
            logger.warning("shutting down: cutting %d open streams", len(left))
        for stream in left:
            stream.cut(CLOSING)
        await self._wait_until_ended(CLOSING)
        # The server would wait for ever for a client that takes nothing. A reset, since its body is
        # cut, which an end of the connection does not tell on HTTP/1.0.
        connections = {connection_of(stream.scope) for stream in left}
        if dropped := max(reset(connections), drop(connections)):
            logger.warning("shutting down: dropped %d clients that take nothing", dropped)
        await self._wait_until_ended(CLOSING)
        for number in self._postponed:
            _act_by_default(number)

    async def _wait_until_ended(self, seconds: float) -> None:
        until = anyio.current_time() + seconds
        while (left := until - anyio.current_time()) > 0:
            # Requests that were accepted may still begin to stream.
            if not self._streams and (self._closed or self._postponed):
                return
            await self._signal.wait(left)

    def _chain_signals(self) -> None:
        """Hear of the signals that end a server, which are then handled as before."""
        if self._closed or threading.current_thread() is not threading.main_thread():
            return
        for number in SIGNALS:
            present = signal.getsignal(number)
            # None: not Python's. Ignored: the server hears of it elsewhere.
            if present in (None, signal.SIG_IGN) or present == self._on_signal:
                continue
            # Another shutdown's that was set later calls this one already.
            if self._chained[number] and _is_ours(present):
                continue
            self._chained[number].append(present)
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        again = number in self._postponed or self._closed
        if not self._closed:
            self.request()
        # A handler that was set later, and chained anew, may call this one in its turn.
        self._depth += 1
        try:
            chained = _past_closed(number, self._chained[number][-self._depth])
            if callable(chained):
                chained(number, frame)
            elif again:
                _act_by_default(number)
            else:
                self._postponed.append(number)
        finally:
            self._depth -= 1

    def _restore_signals(self) -> None:
        """Put back what was there, unless somebody has set another since."""
        self._closed = True
        for number, chained in self._chained.items():
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, _past_closed(number, chained[-1]))


def _is_ours(handler: Any) -> bool:
    return isinstance(getattr(handler, "__self__", None), Shutdown)


def _past_closed(number: int, handler: Any) -> Any:
    """The handler, or what was there before it if its shutdown has been left already."""
    while _is_ours(handler) and handler.__self__._closed:
        handler = handler.__self__._chained[number][-1]
    return handler


def _act_by_default(number: int) -> None:
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)


# On all loops; nearly always none or one.
_shutdowns: set[Shutdown] = set()


def register(stream: OpenStream) -> None:
    """Let the stream be told when its app shuts down."""
    if _shutdowns:
        loop = anyio.lowlevel.current_token()
        for shutdown in tuple(_shutdowns):
            if shutdown._loop == loop:
                shutdown._add(stream)


def forget(stream: OpenStream) -> None:
    """The stream has ended."""
    for shutdown in tuple(_shutdowns):
        shutdown._remove(stream)


@asynccontextmanager
async def graceful_shutdown(grace: float = 5.0) -> AsyncGenerator[Shutdown, None]:
    """End the streams that are open when the server is told to stop; for an app's lifespan.

    Servers wait for open responses before they exit, and an endless stream keeps them for ever.
    Here SIGTERM and SIGINT are noticed as well; whatever handled them before still does, and is
    put back afterwards. So is the end of a worker that no signal tells, as with
    `--limit-max-requests`: while streams are open, the server's listening sockets are looked at
    four times a second, and a server that stops closes them first (not on Windows).

    An event stream sends its `farewell`, if it has one, and ends. All others have `grace` (5.0)
    seconds to come to their end: enough for most downloads, and less than the 10 to
    30 seconds after which process managers kill. Then they are cut, never ended cleanly;
    `on_close` is told "cancelled", with a `GraceExceeded`. Contents have half a second to close.
    Where a client takes nothing, and the server would wait for it, its socket is shut down.

    Gives a `Shutdown`, for contents that want to end by themselves. Leaving the block is a request
    to shut down as well. Raises `ValueError` for a negative grace.

        @asynccontextmanager
        async def lifespan(app):
            async with graceful_shutdown() as shutdown:
                yield {"shutdown": shutdown}
    """
    if not grace >= 0:
        raise ValueError(f"grace must be 0 or more seconds, got {grace!r}")
    shutdown, ended = Shutdown(grace), anyio.Event()

    async def run() -> None:
        with suppress(anyio.get_cancelled_exc_class()):
            await shutdown._run()
        ended.set()

    _shutdowns.add(shutdown)
    shutdown._chain_signals()
    loop.spawn(run)
    try:
        yield shutdown
    finally:
        shutdown._restore_signals()
        if shutdown._timer is not None:
            shutdown._timer.cancel()
        shutdown.request()
        with anyio.CancelScope(shield=True):
            await ended.wait()
        _shutdowns.discard(shutdown)
