"""The exceptions of live streams.

StreamKitError
├── RunFailed                        a run failed or was cancelled: bodies are cut
├── SlowReader                       a reader fell out of its channel's history
├── UnknownStream   (HTTPException)  404: no such run
├── StreamGap       (HTTPException)  410: items after the cursor are gone, or never were
├── LogUnavailable  (HTTPException)  503: the log does not answer
├── Gone                             for logs: `read` has no items right after this id
└── RunEnded                         for logs: nothing can be appended any more
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException

from streamkit.errors import StreamKitError

if TYPE_CHECKING:
    from streamkit.live.records import Record

__all__ = [
    "Gone",
    "LogUnavailable",
    "RunEnded",
    "RunFailed",
    "SlowReader",
    "StreamGap",
    "UnknownStream",
]


class RunFailed(StreamKitError):
    """A run ended as "failed" or "cancelled": every reader, late ones too, gets the same cut.

    `id` is the run's, `state` how it ended, `reason` one line about why: the type of the error,
    "producer lost", "shutdown" or "cancelled". The error itself was logged where it happened.
    """

    def __init__(self, id: str, state: str, reason: str) -> None:  # noqa: A002
        super().__init__(f"run {id!r} {state}: {reason}")
        self.id = id
        self.state = state
        self.reason = reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id, self.state, self.reason)


class SlowReader(StreamKitError):
    """A reader of a channel fell out of its history, and `on_slow` is "cut"."""

    def __init__(self, channel: str, behind: int) -> None:
        super().__init__(f"a reader of channel {channel!r} fell {behind} or more items behind")
        self.channel = channel
        self.behind = behind

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.channel, self.behind)


class UnknownStream(StreamKitError, HTTPException):
    """There is no run of that id, or it ended more than `ttl` seconds ago: a 404."""

    def __init__(self, id: str) -> None:  # noqa: A002
        HTTPException.__init__(self, 404, "no such stream, or it has expired")
        self.id = id

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.id,)


class StreamGap(StreamKitError, HTTPException):
    """What comes after this id is gone, or this stream never gave the id: a 410."""

    def __init__(self, after: str) -> None:
        HTTPException.__init__(
            self, 410, "the items after that id are gone, or this stream never gave it"
        )
        self.after = after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.after,)


class LogUnavailable(StreamKitError, HTTPException):
    """The log did not answer in time: a 503 before the start, a cut after it."""

    def __init__(self, why: str) -> None:
        HTTPException.__init__(self, 503, "the stream's log is not available", {"Retry-After": "1"})
        self.why = why

    def __str__(self) -> str:
        return f"the log of live streams is not available: {self.why}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.why,)


class Gone(StreamKitError):
    """Raised by `Log.read`: the items right after an id are gone, or it gave no such id."""


class RunEnded(StreamKitError):
    """Raised by `Log.append`: the run has ended; `end` is the record that says how, if known."""

    def __init__(self, end: Record | None = None) -> None:
        super().__init__("the run has ended, and takes no more items")
        self.end = end
