"""The published check of an encoder: what responses rely on, tried out on one of yours."""

from __future__ import annotations

import gc
import io
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from inspect import iscoroutine
from types import FrameType
from typing import Any, TypeVar

from streamkit.encoders import Encoder

__all__ = ["check_encoder"]

T = TypeVar("T")

# What breaks a frame that is put together by hand.
DETAILS = (None, "", "not found", "two\nlines\r\n", 'quote " and \\', "\u2028 \x00 \ud800")

_FILES = (
    io.FileIO,
    io.BufferedReader,
    io.BufferedWriter,
    io.BufferedRandom,
    io.TextIOWrapper,
    socket.socket,
)
_CLOCKS = {time.time, time.time_ns, time.monotonic, time.perf_counter, time.sleep}
_OUTSIDE = frozenset({open, print, input, *_CLOCKS})


def check_encoder(
    make: Callable[[], Encoder[T]],
    items: Iterable[T],
    *,
    read: Callable[[bytes], Iterable[object]] | None = None,
) -> bytes:
    """Check an encoder for all that a response relies on, and give the whole body of `items`.

    * `encode`, `finish` and, where they are there, `keep_alive` and `error` are plain functions,
      which return `bytes` and never raise for these items.
    * A fresh encoder gives the same bytes: for another stream, for two at the same time, with
      keep-alives between the items, and with each item on a separate thread.
    * The bytes of an item are given by `encode`, not held back for `finish`, which is called once
      and also ends a body without items.
    * `keep_alive` gives a frame at any time; `error` a frame for any detail, at any time.
    * Nothing reads or writes a file or a socket, or looks at the clock.

    `make` gives a fresh encoder; what is random in a stream, such as a boundary, it has to fix.
    `items` should hold two at least, of every kind that the format knows. `read`, the format's
    reader, gives the items of a body: they must equal those written, with and without keep-alives
    in between. Raises `AssertionError`, which says what was done and what came of it.

        def test_it_is_an_encoder():
            read = lambda body: map(json.loads, body.splitlines())
            check_encoder(JSONLinesEncoder, [{"id": 1}, {"id": 2}], read=read)
    """
    items = list(items)
    chunks = _run(make, items)
    _check_streaming(make, chunks)
    _check_io(make, items)
    _check_same(make, items, chunks)
    _check_keep_alive(make, items)
    _check_error(make, items)
    if read is not None:
        _check_reading(make, items, read)
    return b"".join(chunks)


class _Checked:
    """An encoder whose methods are known to return bytes."""

    def __init__(self, make: Callable[[], Encoder[Any]]) -> None:
        encoder = make()
        self.name = type(encoder).__name__
        for method in ("encode", "finish"):
            if not callable(getattr(encoder, method, None)):
                raise AssertionError(
                    f"make() must give an encoder, and {self.name} has no {method}()"
                )
        # Once, as a response does.
        self._encode = encoder.encode
        self.encoder = encoder

    def has(self, method: str) -> bool:
        return hasattr(self.encoder, method)

    def encode(self, item: object) -> bytes:
        return self._bytes(self._encode, "encode", item)

    def call(self, method: str, *arguments: object) -> bytes:
        return self._bytes(getattr(self.encoder, method), method, *arguments)

    def _bytes(self, function: Callable[..., object], method: str, *arguments: object) -> bytes:
        call = f"{self.name}.{method}({', '.join(f'{value!r:.60}' for value in arguments)})"
        try:
            result = function(*arguments)
        except Exception as exc:
            raise AssertionError(f"{call} must return bytes, and raised {exc!r}") from exc
        if iscoroutine(result):
            result.close()
            raise AssertionError(f"{call} must be a plain function, not async: it isn't awaited")
        if type(result) is not bytes:
            raise AssertionError(
                f"{call} must return bytes, got {type(result).__name__}: {result!r:.60}"
            )
        return result


def _run(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> list[bytes]:
    """The bytes of each item, and what `finish` gives."""
    encoder = _Checked(make)
    return [*map(encoder.encode, items), encoder.call("finish")]


def _check_streaming(make: Callable[[], Encoder[Any]], chunks: Sequence[bytes]) -> None:
    *parts, tail = chunks
    if parts and tail and not any(parts):
        raise AssertionError(
            f"encode() gave nothing for any of {len(parts)} items, and finish() {len(tail)} bytes: "
            f"return an item's bytes from encode(), or no client sees it before the end"
        )
    _run(make, [])
    if make() is make():
        raise AssertionError(
            "make() must give a fresh encoder each time, and gave the same object twice"
        )


def _check_same(
    make: Callable[[], Encoder[Any]], items: Sequence[object], chunks: Sequence[bytes]
) -> None:
    def compare(found: Iterable[bytes], when: str) -> None:
        for position, (expected, chunk) in enumerate(zip(chunks, found, strict=True), 1):
            what = f"item {position}" if position <= len(items) else "finish()"
            if chunk != expected:
                raise AssertionError(
                    f"{what} gave {expected!r:.80} at first, and {chunk!r:.80} {when}; state "
                    f"belongs to the encoder, neither to its class nor to a thread nor to the items"
                )

    compare(_run(make, items), "in another stream")
    first, second = _Checked(make), _Checked(make)
    pairs = [(first.encode(item), second.encode(item)) for item in items]
    pairs.append((first.call("finish"), second.call("finish")))
    for found in zip(*pairs, strict=True):
        compare(found, "with two streams at the same time")
    compare(_run_paused(make, items), "after a keep-alive")
    compare(_run_on_threads(make, items), "on another thread")


def _run_paused(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> list[bytes]:
    encoder, chunks = _Checked(make), []
    for item in items:
        _pause(encoder)
        chunks.append(encoder.encode(item))
    _pause(encoder)
    return [*chunks, encoder.call("finish")]


def _pause(encoder: _Checked) -> bytes:
    return encoder.call("keep_alive") if encoder.has("keep_alive") else b""


def _run_on_threads(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> list[bytes]:
    encoder = _Checked(make)
    chunks: list[bytes] = []
    errors: list[AssertionError] = []

    def step(function: Callable[[], bytes]) -> None:
        try:
            chunks.append(function())
        except AssertionError as exc:
            errors.append(exc)

    steps = [partial(encoder.encode, item) for item in items]
    for function in (*steps, partial(encoder.call, "finish")):
        thread = threading.Thread(target=step, args=(function,))
        thread.start()
        thread.join()
        if errors:
            raise errors[0]
    return chunks


def _check_keep_alive(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> None:
    encoder = _Checked(make)
    if not encoder.has("keep_alive"):
        return
    frames = [encoder.call("keep_alive")]
    for item in items:
        encoder.encode(item)
        frames.append(encoder.call("keep_alive"))
    if not all(frames):
        raise AssertionError(
            "keep_alive() must give what readers ignore, and gave nothing; a format without such "
            "a thing has no keep_alive"
        )


def _check_error(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> None:
    for detail in DETAILS if _Checked(make).has("error") else ():
        encoder = _Checked(make)
        frames = [encoder.call("error", "ValueError", detail)]
        encoder = _Checked(make)
        for item in items:
            encoder.encode(item)
        frames.append(encoder.call("error", "ValueError", detail))
        if not all(frames):
            raise AssertionError(
                f"error('ValueError', {detail!r}) must give a frame, and gave nothing; a format "
                f"without room for one has no error"
            )


def _check_reading(
    make: Callable[[], Encoder[Any]],
    items: Sequence[object],
    read: Callable[[bytes], Iterable[object]],
) -> None:
    def check(body: bytes, expected: Sequence[object], what: str) -> None:
        found = list(read(body))
        if found != expected:
            raise AssertionError(
                f"{what} must be read as {expected!r:.200}, and was read as {found!r:.200}: "
                f"{body!r:.200}"
            )

    for count in range(min(2, len(items))):
        check(b"".join(_run(make, items[:count])), items[:count], f"a body of {count} items")
    check(b"".join(_run(make, items)), items, "the body")
    encoder = _Checked(make)
    body = b"".join(_pause(encoder) + encoder.encode(item) for item in items)
    check(body + _pause(encoder) + encoder.call("finish"), items, "the body with keep-alives")


def _check_io(make: Callable[[], Encoder[Any]], items: Sequence[object]) -> None:
    """After a first run, in which modules may have been imported."""
    encoder = _Checked(make)
    with _watched() as calls:
        for item in items:
            encoder.encode(item)
        encoder.call("finish")
        _pause(encoder)
        if encoder.has("error"):
            encoder.call("error", "ValueError", None)
    if calls:
        raise AssertionError(
            f"{encoder.name} must neither do I/O nor look at the clock, and called {calls[0]}: "
            f"let the items bring what it needs"
        )


@contextmanager
def _watched() -> Iterator[list[str]]:
    calls: list[str] = []

    # Coverage traces nothing that a profile function calls.
    def look(frame: FrameType, event: str, function: Any) -> None:  # pragma: no cover
        if event == "c_call" and _is_impure(function):
            calls.append(f"{function.__qualname__}() in {frame.f_code.co_name}()")

    before, collects = sys.getprofile(), gc.isenabled()
    # What a garbage collection calls is none of the encoder's.
    gc.disable()
    sys.setprofile(look)
    try:
        yield calls
    finally:
        sys.setprofile(before)
        if collects:
            gc.enable()


def _is_impure(function: Any) -> bool:  # pragma: no cover (as above)
    owner, name = getattr(function, "__self__", None), function.__name__
    if isinstance(owner, type):
        return issubclass(owner, date) and name in ("now", "utcnow", "today")
    # The module of system calls: posix or nt.
    if function.__module__ == os.name:
        return bool(name != "fspath")
    return isinstance(owner, _FILES) or function in _OUTSIDE
