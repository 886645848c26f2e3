"""Closes what a response owns: each thing once, whatever the others raise; and names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isawaitable
from typing import Any

__all__ = ["close_async", "close_sync", "name_of"]


# Of generators, async generators and functions.
_CODES = ("gi_code", "ag_code", "__code__")


def close_sync(*owned: Any) -> BaseException | None:
    """Close on this thread; the first exception is returned, so that the rest is closed too."""
    error: BaseException | None = None
    for close in _closers(owned, "close"):
        try:
            close()
        except BaseException as exc:
            error = error or exc
    return error


async def close_async(*owned: Any) -> BaseException | None:
    """Close in this task, by `aclose` or `close`; the first exception is returned."""
    error: BaseException | None = None
    for close in _closers(owned, "aclose", "close"):
        try:
            result = close()
            if isawaitable(result):
                await result
        except BaseException as exc:
            error = error or exc
    return error


def _closers(owned: tuple[Any, ...], *names: str) -> Iterator[Callable[[], Any]]:
    # An iterator is often its own iterable.
    for thing in {id(thing): thing for thing in owned}.values():
        close = next((c for name in names if callable(c := getattr(thing, name, None))), None)
        if close is not None:
            yield close


def name_of(content: Any) -> str:
    """What its author calls a content: the qualified name of its function or class."""
    code = next((c for name in _CODES if (c := getattr(content, name, None)) is not None), None)
    if code is not None:
        return f"{content.__qualname__} ({code.co_filename}:{code.co_firstlineno})"
    named = content if hasattr(content, "__qualname__") else type(content)
    return f"{named.__module__}.{named.__qualname__}"
