"""Closes what a response owns: each thing once, also when another one raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import isawaitable
from typing import Any

__all__ = ["close_async", "close_sync"]


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
