"""The limits of time of a response, all kept by one timer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from streamkit import loop
from streamkit.ending import Ending
from streamkit.errors import DeadlineExceeded, ItemTimeout, SendTimeout
from streamkit.outcome import Reason
from streamkit.sender import Sender

__all__ = ["LAST_RESORT", "Limits", "Watch", "Watched"]

# Seconds a response waits on for content whose cleanup was cancelled, and still goes on.
LAST_RESORT = 1.0


@dataclass(slots=True)
class Limits:
    """Seconds; None for no limit."""

    first_chunk_timeout: float | None = None
    send_timeout: float | None = None
    item_timeout: float | None = None
    keep_alive: float | None = None
    cleanup_timeout: float | None = None
    deadline: float | None = None

    @property
    def any_but_cleanup(self) -> bool:
        """Whether time is watched before the end."""
        return not (
            self.send_timeout
            is self.item_timeout
            is self.keep_alive
            is self.deadline
            is self.first_chunk_timeout
            is None
        )


class Watched(Protocol):
    """What the timer does to a response."""

    def end(self, reason: Reason, error: BaseException | None) -> None: ...
    def stop(self) -> None:
        """Stop the content, for the reason there is."""

    def start_late(self) -> None: ...
    def keep_alive(self) -> None: ...
    def silent_since(self, last_item: float) -> float:
        """Since when the content is silent; it isn't while it waits for a thread to run on."""
        ...

    def give_up(self, allowed: float) -> bool:
        """Cancel the cleanup; True if that was done before, and the response goes on without."""
        ...


class Watch:
    """One timer, which looks at what happened last.

    It is set again only when it rings, so that an item costs no timer.
    """

    __slots__ = (
        "_clock",
        "_closing_since",
        "_ending",
        "_left",
        "_limits",
        "_opened",
        "_over",
        "_response",
        "_sender",
        "_timer",
        "allowed",
        "began",
    )

    def __init__(self, response: Watched, ending: Ending, sender: Sender, limits: Limits) -> None:
        # None at the end: without a cycle, the memory is free at once.
        self._response: Watched | None = response
        self._ending = ending
        self._sender = sender
        self._limits = limits
        self._clock = sender.writer.clock
        self._timer: loop.Timer | None = None
        self.began: float = self._clock()
        self._opened = self.began
        # Seconds for the content's cleanup.
        self.allowed = limits.cleanup_timeout
        self._closing_since: float | None = None
        # Whether the client has left while the last message was on its way.
        self._left = False
        self._over = False

    def begin(self) -> None:
        """The content is open: set the timer for what is due first."""
        if self._limits.any_but_cleanup:
            self._opened = self._clock()
            self._set(self._opened)

    def client_left(self) -> None:
        """The client left while the last message is with the server: it has a moment for it."""
        self._left = True
        self._set_due(self._clock() + LAST_RESORT)

    def cleanup_begins(self) -> None:
        """From now on the content's cleanup is what takes time."""
        if self._closing_since is None:
            self._closing_since = self._clock()
            if self.allowed is not None:
                self._set_due(self._closing_since + self.allowed)
            else:
                self.cancel()

    def allow(self, seconds: float) -> None:
        """Let the cleanup take this long."""
        self.allowed = seconds
        if self._closing_since is not None:
            self._set_due(self._clock() + seconds)

    def cancel(self) -> None:
        """Keep no timer for now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def end(self) -> None:
        """The content is closed: nothing is due any more."""
        self._over = True
        self._response = None
        self.cancel()

    def _set_due(self, due: float) -> None:
        if not self._over:
            self.cancel()
            self._timer = loop.call_at(due, self._ring)

    def _set(self, now: float) -> None:
        limits, writer = self._limits, self._sender.writer
        since = writer.sending_since
        last_item = self._last_item()
        due = []
        if not writer.started and limits.first_chunk_timeout is not None:
            due.append(last_item + limits.first_chunk_timeout)
        if limits.send_timeout is not None:
            due.append((now if since is None else since) + limits.send_timeout)
        if limits.item_timeout is not None:
            due.append((last_item if since is None else now) + limits.item_timeout)
        if limits.keep_alive is not None:
            due.append(((writer.last_sent or now) if since is None else now) + limits.keep_alive)
        if limits.deadline is not None:
            due.append(self.began + limits.deadline)
        if due:
            self._set_due(max(min(due), now + 0.001))

    def _last_item(self) -> float:
        last = self._sender.last_item or self._opened
        return last if self._response is None else self._response.silent_since(last)

    def _ring(self) -> None:
        self._timer = None
        response = self._response
        if response is None:
            return
        # A loop's timer may ring this much early.
        now = self._clock() + 0.0005
        if self._closing_since is not None:
            self._look_at_cleanup(response, now)
        elif self._left:
            response.end("disconnect", None)
        elif self._ending.reason is not None:
            response.stop()
        else:
            self._look_at_limits(response, now)

    def _look_at_cleanup(self, response: Watched, now: float) -> None:
        if self.allowed is None:
            return
        due = (self._closing_since or 0.0) + self.allowed
        if now < due:
            # It was set for something else before the cleanup began.
            self._set_due(due)
        elif not response.give_up(self.allowed):
            self.allowed = now - (self._closing_since or 0.0) + LAST_RESORT
            self._set_due(now + LAST_RESORT)

    def _look_at_limits(self, response: Watched, now: float) -> None:
        limits, writer = self._limits, self._sender.writer
        since = writer.sending_since
        last_item = self._last_item()
        if limits.deadline is not None and now >= self.began + limits.deadline:
            response.end("timeout", DeadlineExceeded(limits.deadline))
            return
        if since is not None:
            if limits.send_timeout is not None and now >= since + limits.send_timeout:
                response.end("timeout", SendTimeout(limits.send_timeout))
                return
        elif limits.item_timeout is not None and now >= last_item + limits.item_timeout:
            response.end("error", ItemTimeout(limits.item_timeout))
            return
        elif self._sender.is_waiting:
            self._break_silence(response, now, last_item)
        self._set(now)

    def _break_silence(self, response: Watched, now: float, last_item: float) -> None:
        limits, writer = self._limits, self._sender.writer
        if not writer.started:
            wait = limits.first_chunk_timeout
            if wait is not None and now >= last_item + wait:
                response.start_late()
        elif limits.keep_alive is not None and now >= (writer.last_sent or 0) + limits.keep_alive:
            if self._sender.can_keep_alive:
                response.keep_alive()
            else:
                writer.last_sent = now
