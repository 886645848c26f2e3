"""What is sent between two items, while the content's task waits for the content."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from streamkit import loop
from streamkit.asgi.writer import Writer

__all__ = ["Aside"]


class Aside:
    """A keep-alive, a late start or a farewell, sent by a short task of its own.

    The content's task can't be woken for it without cancelling what it waits for. It waits until
    this is over before it sends the next item.
    """

    __slots__ = ("_done", "_task")

    def __init__(self) -> None:
        self._done: anyio.Event | None = None
        self._task: loop.Task | None = None

    @property
    def is_on(self) -> bool:
        """Whether something is being sent."""
        return self._done is not None

    def begin(
        self,
        writer: Writer,
        is_wanted: Callable[[], bool],
        function: Callable[[], Awaitable[object]],
        failed: Callable[[BaseException], None],
    ) -> None:
        """Run `function`, if `is_wanted` is still true when the task has its turn."""
        self._done = done = anyio.Event()

        async def send() -> None:
            # The shield is for the content's task.
            shield, writer.shield = writer.shield, None
            try:
                if is_wanted():
                    await function()
            except anyio.get_cancelled_exc_class():
                # By `cancel`: the response ends, and has its reason.
                pass
            except BaseException as exc:
                failed(exc)
            finally:
                writer.shield = shield
                self._done = self._task = None
                done.set()

        self._task = loop.spawn(send)

    def cancel(self) -> None:
        """Send no more of it."""
        if self._done is not None and self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Send no more of it, and wait until it is over."""
        self.cancel()
        await self.wait()

    async def wait(self) -> None:
        """Wait until it is over."""
        if self._done is not None:
            await self._done.wait()
