"""One stream for many: published by anybody, followed by everybody."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from typing import Any

import anyio

from streamkit import loop
from streamkit.live.core import Core
from streamkit.live.follow import Follow
from streamkit.live.log import WINDOW
from streamkit.live.reader import OnSlow
from streamkit.live.records import Payload, end_payload, payload_of

__all__ = ["Channel", "Closing"]

logger: logging.Logger = logging.getLogger("streamkit")

# Items of threads that may wait for the loop before the threads do.
BACKLOG = 1024
# Items that one who publishes without waiting may add before the readers have their turn. Fewer
# than they may be behind; and bursts, which are shorter, reach a reader in one piece.
IN_A_ROW = 128


class Closing:
    """What `close` gives: it may be awaited, and need not be."""

    def __init__(self) -> None:
        self._done = anyio.Event()

    def __await__(self) -> Generator[Any, None, None]:
        return self._done.wait().__await__()


class Channel:
    """A named stream that keeps its newest items; made by `Live.channel`."""

    def __init__(
        self, core: Core, name: str, history: int, max_age: float | None, on_slow: OnSlow
    ) -> None:
        self.name = name
        self._core = core
        self._options = {"history": history, "max_age": max_age, "on_slow": on_slow}
        self._history = history
        self._max_age = max_age
        self._on_slow: OnSlow = on_slow
        # One more than the history: the cursor of the one who has all but that.
        self._keep = max(history, WINDOW) + 1
        # What threads published, and ends; the condition guards all three.
        self._from_threads: list[Payload] = []
        # Who waits for the ends among them.
        self._closings: list[Closing] = []
        self._has_room = threading.Condition()
        self._publishing = False
        self._published: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"Channel({self.name!r})"

    async def publish(self, item: object) -> str:
        """Append an item, for all readers in all processes; gives its id.

        An item is anything that an event stream takes: JSON, text, bytes of whole events, or a
        `ServerSentEvent`, whose own id is replaced. Raises `TypeError` and `ValueError` for what
        JSON can't hold, and `LogUnavailable`.
        """
        self._core.check_running()
        ids = await self._append([payload_of(item)])
        self._core.in_a_row += 1
        if self._core.in_a_row >= IN_A_ROW:
            # A log in memory never waits, and the readers must have their turn.
            self._core.in_a_row = 0
            await loop.checkpoint()
        return ids[0]

    def publish_from_thread(self, item: object) -> None:
        """Append an item from any thread; those of one thread stay in order.

        Returns at once, unless 1,024 items wait for the loop: then when there is room. What the
        log refuses is logged. Raises as `publish` for an item that can't be encoded.

            def on_message(client, userdata, message):      # paho-mqtt, on a thread of its own
                prices.publish_from_thread(json.loads(message.payload))
        """
        self._core.check_running()
        payload = payload_of(item)
        with self._has_room:
            while len(self._from_threads) >= BACKLOG and not self._core.is_here:
                if not self._has_room.wait(1.0):
                    self._core.check_running()
            self._from_threads.append(payload)
            first = len(self._from_threads) == 1
        if first:
            self._core.call_soon_threadsafe(self._begin_publishing)

    def follow(self, after: str | None = None, *, gap: str | None = None) -> Follow:
        """Content for a response: what comes after an id, or, without one, the history first.

        `after` and `gap`: see `Live.follow`. A cursor that fell out of the history is a gap.

            @app.get("/prices")
            async def stream(request: Request):
                return SSEStreamingResponse(prices.follow(last_event_id(request)))
        """
        return Follow(
            self._core,
            self.name,
            after=after,
            gap=gap,
            history=self._history,
            max_age=self._max_age,
            on_slow=self._on_slow,
            channel=True,
        )

    def close(self) -> Closing:
        """End the bodies of all readers, in all processes, cleanly; await it to know it is done.

        It may be called in any thread, as in a `def` endpoint.
        Browsers that come back are told so, by a 204. Publishing again opens the channel again.
        """
        self._core.check_running()
        closing = Closing()
        # Behind what threads have published before.
        with self._has_room:
            self._from_threads.append(end_payload("done"))
            self._closings.append(closing)
        self._core.call_soon_threadsafe(self._begin_publishing)
        return closing

    async def _append(self, payloads: list[Payload]) -> list[str]:
        core = self._core
        return await core.log.publish(
            self.name, payloads, keep=self._keep, max_age=self._max_age, ttl=core.ttl
        )

    def _begin_publishing(self) -> None:
        if not self._publishing:
            self._publishing = True
            self._published = anyio.Event()
            loop.spawn(self._publish_all)

    async def _publish_all(self) -> None:
        while True:
            with self._has_room:
                batch, self._from_threads = self._from_threads, []
                closings, self._closings = self._closings, []
                self._has_room.notify_all()
            if not batch:
                break
            try:
                await self._append(batch)
            except Exception:
                if closings:
                    logger.exception("channel %r could not be closed", self.name)
                if lost := len(batch) - len(closings):
                    logger.exception("%d items of threads for channel %r were lost", lost, self)
            for closing in closings:
                closing._done.set()
            await loop.checkpoint()
        self._publishing = False
        assert self._published is not None
        self._published.set()

    async def _flush(self) -> None:
        """Publish what threads have left here."""
        self._begin_publishing()
        assert self._published is not None
        await self._published.wait()
