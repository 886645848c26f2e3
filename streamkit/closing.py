"""Closes what a response owns: each thing once, also when another one raises; and names it."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from inspect import isawaitable
from typing import Any

__all__ = ["close_async", "close_sync", "comes_of", "first_of", "name_of"]

logger: logging.Logger = logging.getLogger("streamkit")

# Of generators, async generators and functions.
_CODES = ("gi_code", "ag_code", "__code__")


def close_sync(*owned: Any) -> BaseException | None:
    """Close on this thread; the first exception is returned, so that the rest is closed too."""
    error: BaseException | None = None
    for thing in _once(owned):
        try:
            if callable(close := getattr(thing, "close", None)):
                close()
        except BaseException as exc:
            error = first_of(error, exc)
    return error


async def close_async(*owned: Any) -> BaseException | None:
    """Close in this task, by `aclose` or `close`; the first exception is returned."""
    error: BaseException | None = None
    for thing in _once(owned):
        try:
            close = getattr(thing, "aclose", None)
            if not callable(close):
                close = getattr(thing, "close", None)
            if callable(close) and isawaitable(result := close()):
                await result
        except BaseException as exc:
            error = first_of(error, exc)
    return error


def first_of(error: BaseException | None, other: BaseException | None) -> BaseException | None:
    """The first of two exceptions, which is the one to raise; the other one is logged."""
    # Not by their truth or equality, which a class of exceptions may define.
    if error is None or other is None:
        return other if error is None else error
    if isinstance(other, Exception) and other is not error and other is not error.__cause__:
        logger.error("%r had been raised, and then this was", error, exc_info=other)
    return error


def _once(owned: tuple[Any, ...]) -> Iterable[Any]:
    # An iterator is often its own iterable.
    if len(owned) == 2 and owned[0] is owned[1]:
        return owned[:1]
    return {id(thing): thing for thing in owned}.values()


def comes_of(error: BaseException, kind: type[BaseException]) -> bool:
    """Whether an exception is of a kind, or one of it caused it: libraries wrap it in theirs."""
    seen: set[int] = set()
    left: list[BaseException | None] = [error]
    while left:
        found = left.pop()
        if found is None or id(found) in seen:
            continue
        if isinstance(found, kind):
            return True
        seen.add(id(found))
        left += [found.__cause__, found.__context__]
        if isinstance(found, BaseExceptionGroup):
            left += found.exceptions
    return False


def name_of(content: Any) -> str:
    """What its author calls a content: the qualified name of its function or class."""
    code = next((c for name in _CODES if (c := getattr(content, name, None)) is not None), None)
    if code is not None:
        return f"{content.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
    named = content if hasattr(content, "__qualname__") else type(content)
    return f"{named.__module__}.{named.__qualname__}"
