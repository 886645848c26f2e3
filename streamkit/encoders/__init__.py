"""Encoders turn items into bytes: pure, with no I/O, no clock and no framework.

A fresh encoder serves one response. `encode` runs where the items are made: in the worker thread
of a sync generator, in the task of an async one.
"""

from __future__ import annotations

from typing import Protocol, TypeVar, runtime_checkable

__all__ = ["Encoder"]

T_contra = TypeVar("T_contra", contravariant=True)


@runtime_checkable
class Encoder(Protocol[T_contra]):
    """What a format has to offer.

    An encoder may also have:

    * `keep_alive() -> bytes`: sent after `keep_alive` seconds of silence; called for each of them.
    * `error(exc_type, detail) -> bytes`: the last frame of a body that is cut by an error.
    * `between_frames`, a property: whether a frame of the format has ended and no other has begun
      in all that was encoded, so that one of these may be put in. Without it that is always so.

        class Shout:
            def encode(self, item: str) -> bytes:
                return item.upper().encode()
            def finish(self) -> bytes:
                return b"!"
    """

    def encode(self, item: T_contra, /) -> bytes:
        """The bytes of one item; called once for each item, in order."""
        ...

    def finish(self) -> bytes:
        """What closes a whole body; called once after the last item, never after an error."""
        ...
