"""`Live`: runs that outlive their clients, and channels that many read."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import anyio

from streamkit.live.channel import Channel
from streamkit.live.checks import check_channel, check_id, check_seconds, checked_path
from streamkit.live.core import Core
from streamkit.live.follow import Follow
from streamkit.live.log import Log
from streamkit.live.memory import MemoryLog
from streamkit.live.reader import OnSlow
from streamkit.live.run import Run, launch
from streamkit.shutdown import Shutdown, graceful_shutdown

if TYPE_CHECKING:
    from streamkit.live.router import Authorize

__all__ = ["Live"]

logger: logging.Logger = logging.getLogger("streamkit")

# Seconds that the log has at the least, when all ends, to take what threads have published.
LEAST_PATIENCE = 1.0


class Live:
    """Streams that outlive a connection, and one stream for many; in memory, or over Redis.

    * `log`: where the streams are kept; a `MemoryLog()` unless given, which is for one process.
      `RedisLog("redis://localhost")` is for all that use the same Redis.
    * `ttl` (3600.0): seconds that a run stays after its end. Long enough for a laptop that sleeps
      over lunch.
    * `lease` (10.0): seconds within which a producer gives a sign of life, over Redis. If its
      process dies, readers are told within two of them.
    * `grace` (5.0): seconds that runs of this process go on when it shuts down; then they are
      closed, and marked failed. Also that of `graceful_shutdown` in `lifespan`.
    * `path`: where the router is mounted, if not under its prefix: for `Run.headers`.

    It runs inside of `async with`, on one event loop at a time. Raises `ValueError` and `TypeError`
    for values that make no sense.

        live = Live()
        app = FastAPI(lifespan=live.lifespan)
    """

    def __init__(
        self,
        log: Log | None = None,
        *,
        ttl: float = 3600.0,
        lease: float = 10.0,
        grace: float = 5.0,
        path: str | None = None,
    ) -> None:
        if log is not None and not isinstance(log, Log):
            raise TypeError(
                f"log must be a MemoryLog, a RedisLog or another Log, got {type(log).__name__}; "
                f"for an address pass RedisLog(address)"
            )
        check_seconds("ttl", ttl, least=0.001)
        check_seconds("lease", lease, least=0.1)
        check_seconds("grace", grace)
        self._core = Core(MemoryLog() if log is None else log, ttl=ttl, lease=lease, grace=grace)
        self._path = None if path is None else checked_path("path", path)
        self._path_is_given = path is not None
        # Those in use: what there is of a channel is in the log.
        self._channels: WeakValueDictionary[str, Channel] = WeakValueDictionary()

    async def __aenter__(self) -> Live:
        await self._core.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        with anyio.CancelScope(shield=True):
            await self._flush()
            await self._core.stop()

    async def _flush(self) -> None:
        """Publish what threads have left, unless the log doesn't answer."""
        patience = max(self._core.grace, LEAST_PATIENCE)
        with anyio.move_on_after(patience) as scope:
            for channel in tuple(self._channels.values()):
                await channel._flush()
        if scope.cancelled_caught:
            logger.error("the log took nothing for %s seconds: items of threads are lost", patience)

    @asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None, None]:
        """For `FastAPI(lifespan=live.lifespan)`: runs this, within `graceful_shutdown`.

        For more, use both in a lifespan of your own: `async with graceful_shutdown(), live:`.
        """
        async with (
            graceful_shutdown(self._core.grace) as shutdown,
            self,
            anyio.create_task_group() as group,
        ):
            group.start_soon(self._stop_runs_with, shutdown)
            yield
            group.cancel_scope.cancel()

    async def _stop_runs_with(self, shutdown: Shutdown) -> None:
        """Let the grace of runs begin with that of responses."""
        await shutdown.wait()
        await self._core.stop_runs()

    # runs

    async def start(
        self,
        content: AsyncIterable[Any] | Iterable[Any],
        *,
        id: str | None = None,  # noqa: A002
        linger: float | None = None,
    ) -> Run:
        """Drive a content to its end, whoever reads it; each item is kept for readers.

        `content` is any stream that a response takes, sync (then on a worker thread) or async. It
        runs in the context of the caller and is closed here, exactly once, whatever happens. Bytes
        that are followed as events have to be whole events, as `split_events` gives them.

        `id` is 128 random bits unless given. If there is a run of that id, in any process, it is
        followed, and `content` is closed and never iterated: so a second click starts nothing.

        `linger`: seconds the run goes on without readers, then it is cancelled; None to go on to
        its end; 0 to wait for the first reader, at most `lease`, and end with the last.

        Raises `LogUnavailable` (a 503) if the log doesn't answer, `TypeError` and `ValueError` for
        arguments that make no sense, `RuntimeError` if this `Live` doesn't run.

            run = await live.start(answer(question), linger=60)
            return SSEStreamingResponse(run.follow(), headers=run.headers)
        """
        return Run(self, await launch(self._core, content, id, linger))

    def follow(self, id: str, after: str | None = None, *, gap: str | None = None) -> Follow:  # noqa: A002
        """Content for a response: the items of a run strictly after an id, and on to its end.

        `after`: None for all items, `"now"` for those to come, or an id that was given before, as
        `last_event_id(request)` has it. A cursor that is gone, or that the run never gave, is a
        410; with `gap="event"` an event of type `gap`, and on from what there is. An unknown run is
        a 404, one that has ended and of which all was received a 204 with `Stream-State`.

        The body ends cleanly only if the run is done; else it is cut, by `RunFailed`. Items were
        made JSON when they were appended: a response's `dumps` and type of items change nothing.

            @app.get("/answers/{id}")
            async def resume(id: str, request: Request):
                return SSEStreamingResponse(live.follow(id, last_event_id(request)))
        """
        check_id(id)
        return Follow(self._core, id, after=after, gap=gap)

    async def cancel(self, id: str) -> str | None:  # noqa: A002
        """End a run, in whichever process it is; how it has ended, None for an unknown id.

        The first end stands: of a run that was done before, this gives "done". If the content runs
        in this process, it is closed when this returns.
        """
        check_id(id)
        self._core.check_running()
        return await self._core.cancel(id)

    async def state(self, id: str) -> str | None:  # noqa: A002
        """How it is: "running", "done", "failed" or "cancelled"; None for an id that is unknown."""
        check_id(id)
        self._core.check_running()
        return await self._core.state(id)

    # channels

    def channel(
        self,
        name: str,
        *,
        history: int = 0,
        max_age: float | None = None,
        on_slow: OnSlow = "cut",
    ) -> Channel:
        """A stream that many publish to and many follow; made anew or the one of that name.

        * `history` (0): how many items a reader without a cursor is given, and how far one may be
          behind; with 0 it begins with what comes next, and may be 1,024 behind.
        * `max_age`: seconds after which an item is no longer given to those who come.
        * `on_slow`: what becomes of a reader that fell out of the history: "cut", its body is cut,
          and it comes back with its cursor; "gap", an event of type `gap`, then the history;
          "latest", the newest item.

        Raises `ValueError` if a channel of that name with other options is in use, in this `Live`.

            prices = live.channel("prices", history=1000, max_age=600)
        """
        check_id(name, "name")
        check_channel(history, max_age, on_slow)
        channel = Channel(self._core, name, history, max_age, on_slow)
        known = self._channels.setdefault(name, channel)
        if known._options != channel._options:
            raise ValueError(
                f"channel {name!r} has the options {known._options}, got {channel._options}"
            )
        return known

    # HTTP

    def router(
        self,
        prefix: str,
        *,
        authorize: Authorize | None = None,
        gap: str | None = None,
    ) -> Any:
        """Routes for all runs, for `app.include_router`: `<prefix>/<id>`.

        * GET follows, or resumes after `Last-Event-ID`, or `?after=<id>&skip=<items had>`: server-
          sent events, or JSON lines for `Accept: application/jsonl`. `gap` is that of `follow`.
        * HEAD tells the state: `Stream-State: running | done | failed | cancelled`, or a 404.
        * DELETE cancels: a 204 with the `Stream-State` that stands.

        `authorize(request, id)`, sync (on a worker thread) or async, is asked first on each of
        them: False is a 403, an exception its own. Without it, whoever knows an id may read and
        cancel: ids are 128 random bits, unless you give others.

        Needs FastAPI; raises `ValueError` for a prefix that doesn't start with a slash.
        """
        from streamkit.live.router import make_router

        prefix = checked_path("prefix", prefix)
        if not self._path_is_given:
            self._path = prefix
        return make_router(self, prefix, authorize, gap)
