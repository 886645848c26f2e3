"""What every body offers, and how items become chunks."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from time import monotonic
from typing import Any, Protocol

from streamkit.encoders import Encoder
from streamkit.encoders.text import TextEncoder
from streamkit.start import ResponseStart

__all__ = [
    "ALONE",
    "CHECK_EVERY",
    "END",
    "FIRST_CHECK",
    "Begin",
    "Body",
    "Coding",
    "Pace",
    "Pusher",
    "blame",
    "coding_of",
    "encode_first",
    "weigh",
]

# Seconds in which items are gathered before they are sent and the loop has its turn.
LOOP_SLICE = 0.001
# An item counts as its bytes and this much, so that many empty ones make a batch as well.
ITEM_WEIGHT = 16
# Most bytes added between two checks of the flags and the clock.
CHECK_EVERY = 1024
# Bytes added after a wait until the first check.
FIRST_CHECK = 4 * ITEM_WEIGHT
# In place of the end of a slice: the next item may come alone.
ALONE = -1.0
# Seconds between two checks up to which items are quick, and checks may be rarer.
QUICK = 0.0001


# Takes the first step of a `send`, and gives the rest of it to wait for, if there is any.
Begin = Callable[[Any], "Awaitable[Any] | None"]

# In place of an item: there is none.
END: Any = object()


def _identity(item: Any) -> Any:
    return item


def _no_tail() -> bytes:
    return b""


@dataclass(slots=True)
class Coding:
    """How items become chunks, what closes a body, and how large a batch may be.

    `exact` is a type whose items `quick` encodes as `encode` does, but faster.
    """

    encode: Callable[[Any], Any] = _identity
    finish: Callable[[], Any] = _no_tail
    measure: Callable[[Any], int] = len
    max_buffer: int = 65536
    exact: type | None = None
    quick: Callable[[Any], Any] = _identity
    # Takes the `ResponseStart` that may be the very first item.
    on_start: Callable[[Any], None] | None = None
    # Makes a thread's queue, where that is not the plain one.
    make_queue: Callable[..., Any] | None = None


_SIZED = frozenset({str, bytes})


def weigh(item: Any) -> int:
    """Bytes of an item, as far as they can be told."""
    return len(item) if type(item) in _SIZED else sys.getsizeof(item)


def encode_first(coding: Coding, item: Any) -> Any:
    """The chunk of the first item; `END` for a `ResponseStart`, which begins the response."""
    if coding.on_start is not None and isinstance(item, ResponseStart):
        coding.on_start(item)
        return END
    return coding.encode(item)


def blame(item: Any, error: Exception) -> None:
    """Raise the error of an item's encoding in the words of the rule that the item broke, if any.

    The error itself stays as it was raised: its traceback shows what it was raised in.
    """
    if isinstance(item, ResponseStart):
        raise TypeError("ResponseStart must be the very first item of its content") from error


def coding_of(encoder: Encoder[Any], max_buffer: int) -> Coding:
    """The coding of a response's encoder."""
    coding = Coding(encoder.encode, encoder.finish, len, max_buffer)
    if type(encoder) is TextEncoder and encoder.quick is not None:
        coding.exact, coding.quick = encoder.quick
    return coding


class Body(Protocol):
    """Encoded chunks that become ready one after the other.

    Owns its content: closes it once, on every way out. All methods are called on the loop's
    thread; `ready` and `aclose` by one task.
    """

    @property
    def name(self) -> str:
        """What its author calls the content, for the log."""
        ...

    @property
    def finished(self) -> bool:
        """Whether the content is closed and all its chunks were taken."""
        ...

    @property
    def error(self) -> BaseException | None:
        """What ended the content before its end."""
        ...

    def start(self, coding: Coding) -> None:
        """Begin; called at most once. A body that never starts is only closed."""

    def ready(self) -> Awaitable[list[Any]]:
        """All chunks that are ready; waits only if there are none. The first comes alone.

        An empty list says that the body is finished or was stopped.
        """
        ...

    def shield(self, sending: Coroutine[Any, Any, Any]) -> Awaitable[Any] | None:
        """Begin a `send`, unharmed by cancellations that belong to the content.

        The rest of it to wait for; None if it is done already.
        """
        ...

    def stop(self) -> bool:
        """Ask the content to end; returns at once. `aclose` waits for it.

        Whether the task that waits in `ready` is to be cancelled as well: not so where it closes
        the content already.
        """
        ...

    def aclose(self) -> Awaitable[None]:
        """Stop, and return when the content is closed and the body finished."""
        ...


class Pusher(Protocol):
    """What sends an item that comes alone, while the task that sends the body is in `ready`.

    A body that has a method `use_sender` is given one, where that can be done.
    """

    @property
    def waits(self) -> bool:
        """Whether nothing is being sent; if not, `ready` has to return, with nothing."""
        ...

    @property
    def is_plain(self) -> bool:
        """Whether an item may be pushed now."""
        ...

    @property
    def begin(self) -> Begin:
        """For a `push` from outside that task."""
        ...

    def push(self, chunk: bytes, begin: Begin) -> bool:
        """Send an item; False if its `send` waits."""
        ...


class Pace:
    """When the producing side checks the clock, and when its slice of time is over.

    Reading the clock costs as much as a short item. So `allowed` bytes pass between two checks:
    few at first, and more as long as the items prove quick. A slow item among quick ones may hold
    what is ready for `most` bytes of its kind, once.
    """

    __slots__ = ("_checked", "_most", "_slice", "allowed", "until")

    def __init__(self, slice_: float, most: int = CHECK_EVERY) -> None:
        self._slice = slice_
        self._most = most
        self.begin()

    def begin(self) -> None:
        """The other side had its turn: the next item begins a slice."""
        self.allowed: int = 1
        self.until: float = 0.0
        self._checked = 0.0

    def start(self) -> None:
        """The slice begins now, so that the next item's own time counts."""
        self.allowed = 1
        self._checked = monotonic()
        self.until = self._checked + self._slice

    def is_over(self) -> bool:
        """Whether the slice is over; sets how many bytes may pass until the next question."""
        now = monotonic()
        if self.until <= 0:
            self.until = now + self._slice
            self.allowed = FIRST_CHECK
        elif now - self._checked < QUICK:
            self.allowed = min(self.allowed * 2, self._most)
        else:
            self.allowed = 1
        self._checked = now
        return now >= self.until
