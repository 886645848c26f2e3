"""The exceptions of streamkit.

    StreamKitError
    ├── SendTimeout        (TimeoutError)     a client took nothing for `send_timeout` seconds
    ├── ItemTimeout        (TimeoutError)     the content gave nothing for `item_timeout` seconds
    ├── ThreadTimeout      (TimeoutError)     a stream got no thread for `thread_timeout` seconds
    ├── DeadlineExceeded   (TimeoutError)     a response took longer than its `deadline`
    ├── ClientTooSlow      (TimeoutError)     a client took fewer bytes a second than `min_rate`
    ├── GraceExceeded      (TimeoutError)     a stream outlived its app's `graceful_shutdown`
    ├── SourceError        (OSError)          a source gave fewer or more bytes than it said
    ├── StreamStopped      (BrokenPipeError)  a writer goes on after its reader has left
    └── BodyCut            (ConnectionError)  testing: the app cut a body before its end

Bad arguments are plain `TypeError` and `ValueError`, raised where they are passed.
"""

from __future__ import annotations

__all__ = [
    "BodyCut",
    "ClientTooSlow",
    "DeadlineExceeded",
    "GraceExceeded",
    "ItemTimeout",
    "SendTimeout",
    "SourceError",
    "StreamKitError",
    "StreamStopped",
    "ThreadTimeout",
]


class StreamKitError(Exception):
    """Base of every exception that streamkit defines."""


class SendTimeout(StreamKitError, TimeoutError):
    """A client took nothing for `send_timeout` seconds, so the response dropped it."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the client took nothing for send_timeout={seconds} seconds")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[SendTimeout], tuple[float]]:
        return type(self), (self.seconds,)


class ItemTimeout(StreamKitError, TimeoutError):
    """The content gave nothing for `item_timeout` seconds, so the response was ended."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the content gave nothing for item_timeout={seconds} seconds")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[ItemTimeout], tuple[float]]:
        return type(self), (self.seconds,)


class ThreadTimeout(StreamKitError, TimeoutError):
    """No thread of `stream_limiter()` was free for `thread_timeout` seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"no thread was free for thread_timeout={seconds} seconds")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[ThreadTimeout], tuple[float]]:
        return type(self), (self.seconds,)


class DeadlineExceeded(StreamKitError, TimeoutError):
    """A response was not at its end after `deadline` seconds, so it was cut."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the response was not at its end after deadline={seconds} seconds")
        self.seconds = seconds

    def __reduce__(self) -> tuple[type[DeadlineExceeded], tuple[float]]:
        return type(self), (self.seconds,)


class ClientTooSlow(StreamKitError, TimeoutError):
    """A client took fewer bytes a second than `min_rate`, so the response dropped it."""

    def __init__(self, bytes_per_second: float) -> None:
        super().__init__(f"the client took less than min_rate={bytes_per_second} bytes a second")
        self.bytes_per_second = bytes_per_second

    def __reduce__(self) -> tuple[type[ClientTooSlow], tuple[float]]:
        return type(self), (self.bytes_per_second,)


class GraceExceeded(StreamKitError, TimeoutError):
    """A stream was still open when the grace of `graceful_shutdown` was over, so it was cut."""

    def __init__(self, message: str = "the app shut down before the stream was at its end") -> None:
        super().__init__(message)


class SourceError(StreamKitError, OSError):
    """A source gave fewer or more bytes than it was asked for: a file shrank, an object changed.

    The connection is cut: neither a padded nor a shortened body looks complete.
    """


class StreamStopped(StreamKitError, BrokenPipeError):
    """Raised by `write()` inside `iterate_writes` once its reader has left.

    Let it pass: it unwinds the writer, so that its `with` and `finally` blocks run.
    """


class BodyCut(StreamKitError, ConnectionError):
    """A response body ended before its end; raised by `streamkit.testing` only.

    `received` is the number of body bytes that had arrived; `__cause__` is what the app raised.
    """

    def __init__(self, received: int) -> None:
        super().__init__(f"the body was cut after {received} bytes")
        self.received = received

    def __reduce__(self) -> tuple[type[BodyCut], tuple[int]]:
        return type(self), (self.received,)
