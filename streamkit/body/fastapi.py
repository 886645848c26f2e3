"""Takes FastAPI's wrapper off an endpoint's async generator.

FastAPI wraps the generator of a yielding `async def` endpoint in another one, which sleeps for
0 seconds after each item and does not close the inner one when it is closed. While it has not
started, its frame holds the endpoint's generator as its argument. Where anything differs from
that, the wrapper stays on.
"""

from __future__ import annotations

from collections.abc import AsyncIterable
from types import AsyncGeneratorType
from typing import Any

__all__ = ["unwrap"]

MODULE = "fastapi.routing"
NAME = "_async_stream_raw"
ARGUMENT = "async_gen"


def unwrap(content: AsyncIterable[Any]) -> AsyncIterable[Any]:
    """The endpoint's own generator, or the content as it is."""
    if type(content) is not AsyncGeneratorType or content.__name__ != NAME:
        return content
    frame = content.ag_frame
    # A frame that has not started has run no instruction.
    if frame is None or content.ag_running or frame.f_globals.get("__name__") != MODULE:
        return content
    code = content.ag_code
    if code.co_varnames[: code.co_argcount] != (ARGUMENT,):
        return content
    inner = frame.f_locals.get(ARGUMENT)
    if not isinstance(inner, AsyncIterable) or "chunk" in frame.f_locals:
        return content
    return inner
