"""A source and its plan, as content: the plan's steps, read one after the other."""

from __future__ import annotations

from collections.abc import AsyncIterator

from streamkit.errors import SourceError
from streamkit.http.plan import Plan, Rest, Step
from streamkit.http.ranges import Span
from streamkit.sources import ByteSource, BytesSource, SourceInfo

__all__ = ["PlanContent", "WholeBytes", "WholeSource", "read_now", "read_steps", "whole"]

# Bytes of a body that is sent without listening for the disconnect: what servers take for a client
# before `send` waits for it.
MOST_AT_ONCE = 65536


def whole(info: SourceInfo) -> Plan:
    """The plan for someone who only wants the bytes."""
    return Plan(200, steps=(Rest() if info.size is None else Span(0, info.size),))


def read_now(source: ByteSource, steps: tuple[Step, ...]) -> list[bytes] | None:
    """What the steps come to, if that is little and can be had without waiting."""
    chunks: list[bytes] = []
    left = MOST_AT_ONCE
    for step in steps:
        if isinstance(step, bytes):
            chunks.append(step)
            continue
        if step.end is None or step.end - step.start > left:
            return None
        left -= step.end - step.start
        chunk = source.read_now(step.start, step.end)
        if chunk is None or len(chunk) != step.end - step.start:
            return None
        chunks.append(chunk)
    return chunks


async def read_steps(source: ByteSource, steps: tuple[Step, ...]) -> AsyncIterator[bytes]:
    """Read the steps; `SourceError` where the source gives fewer or more bytes than it said."""
    for step in steps:
        if isinstance(step, bytes):
            yield step
            continue
        position, end = step
        chunks = source.read(position, end)
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


class WholeBytes(BytesSource):
    """Whole `str` or bytes that are a content: nothing is known of them but their size."""


class WholeSource:
    """All bytes of a source, as async content that owns it."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        info = await self._source.info()
        steps = read_steps(self._source, whole(info).steps)
        try:
            async for chunk in steps:
                yield chunk
        finally:
            await steps.aclose()  # type: ignore[attr-defined]

    async def aclose(self) -> None:
        await self._source.aclose()


class PlanContent:
    """The steps of a plan, as async content; the source is closed by who made the plan."""

    def __init__(self, source: ByteSource, steps: tuple[Step, ...]) -> None:
        self._source = source
        self._steps = steps

    def __aiter__(self) -> AsyncIterator[bytes]:
        return read_steps(self._source, self._steps)
