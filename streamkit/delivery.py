"""A source on its way: its info becomes a plan, and the plan's steps become chunks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from streamkit.errors import SourceError
from streamkit.http.plan import Plan, Rest
from streamkit.http.ranges import Span
from streamkit.sources import ByteSource, PathSource, SourceInfo

__all__ = ["Delivery", "whole"]


class Delivery:
    """The content of a response to one request: an async iterable, which closes its source.

    `plan` is None until the source has told its size; then nothing but the steps is read.
    """

    def __init__(self, source: ByteSource, decide: Callable[[SourceInfo], Plan]) -> None:
        self._source = source
        self._decide = decide
        self._offers_path = False
        self.plan: Plan | None = None
        self.path: str | None = None

    def offer_path(self) -> None:
        """The server would send a whole file by itself, given its path."""
        self._offers_path = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        info = await self._source.info()
        plan = self.plan = self._decide(info)
        if self._offers_path and plan.steps == (Span(0, info.size or 0),):
            self.path = self._source.path if isinstance(self._source, PathSource) else None
        steps = plan.steps if self.path is None else ()
        for step in steps:
            if isinstance(step, bytes):
                yield step
                continue
            position, end = step
            chunks = self._source.read(position, end)
            try:
                async for chunk in chunks:
                    position += len(chunk)
                    if end is not None and position > end:
                        raise SourceError(f"a source gave more bytes than {step.start} to {end}")
                    yield chunk
            finally:
                if aclose := getattr(chunks, "aclose", None):
                    await aclose()
            if end is not None and position < end:
                raise SourceError(
                    f"a source ended at byte {position} when asked for {step.start} to {end}: "
                    f"it shrank, or its size was wrong"
                )

    async def aclose(self) -> None:
        await self._source.aclose()


def whole(info: SourceInfo) -> Plan:
    """The plan for someone who only wants the bytes."""
    return Plan(200, steps=(Rest() if info.size is None else Span(0, info.size),))
