"""Iterators as the bodies need them: ones a second `for` can go on with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, TypeVar

from streamkit.body.base import END
from streamkit.closing import close_async, close_sync

__all__ = ["async_followed", "cancel_at_yield", "followed"]

T = TypeVar("T")


def followed(iterator: Iterator[T]) -> Iterator[T]:
    """The iterator itself, or a generator over one that has no `__iter__`."""
    return iterator if hasattr(iterator, "__iter__") else _follow(iterator)


def _follow(iterator: Iterator[T]) -> Iterator[T]:
    try:
        while True:
            try:
                item = next(iterator)
            except StopIteration:
                return
            yield item
    finally:
        close_sync(iterator)


def async_followed(iterator: AsyncIterator[T]) -> AsyncIterator[T]:
    """The async iterator itself, or a generator over one that has no `__aiter__`."""
    return iterator if hasattr(iterator, "__aiter__") else _async_follow(iterator)


async def _async_follow(iterator: AsyncIterator[T]) -> AsyncIterator[T]:
    try:
        while True:
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                return
            yield item
    finally:
        await close_async(iterator)


async def cancel_at_yield(iterator: AsyncIterator[Any], cancellation: BaseException) -> Any:
    """Raise a cancellation where a generator waits at its `yield`; gives its next item.

    `END` if there is none. A scope or timeout that is held around the `yield` then ends as it does
    anywhere else. What is no generator can't be told, and the cancellation is raised here.
    """
    athrow = getattr(iterator, "athrow", None)
    if athrow is None:
        raise cancellation
    try:
        return await athrow(cancellation)
    except StopAsyncIteration:
        return END
