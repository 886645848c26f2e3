"""Content that other libraries have made: their responses and bodies, and processes.

They are told by what they can do; no library is imported for it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
)
from contextlib import suppress
from functools import partial
from http.client import HTTPResponse, IncompleteRead
from inspect import iscoroutinefunction
from typing import Any

import anyio

from streamkit.adapters.files import file_chunks
from streamkit.closing import close_async
from streamkit.threads import run_abandonable

__all__ = ["adapted", "way_out"]

CHUNK_SIZE = 65536
# Seconds between two looks whether a process has ended: at first, and at most.
FIRST_LOOK, LAST_LOOK = 0.001, 0.05


Chunks = AsyncIterable[bytes] | Iterable[bytes]


def adapted(content: Any) -> Chunks | None:
    """The bytes of a response or process of another library, which is closed with them.

    None for all other content. The bytes are the decoded ones, since the headers of that response
    are not sent.
    """
    if _can(content, "kill", "wait") and hasattr(content, "returncode"):
        return _Process(content)
    if not _can(content, "close") and not _can(content, "aclose"):
        return None
    if _can(content, "iter_bytes", "aiter_bytes"):
        if hasattr(type(getattr(content, "stream", None)), "__aiter__"):
            return _AsyncBytes(content, content.aiter_bytes)
        return _Bytes(content, content.iter_bytes)
    if _can(content, "iter_content"):
        return _Bytes(content, partial(content.iter_content, CHUNK_SIZE))
    if _can(content, "iter_chunks", "__aiter__"):
        return _AsyncBytes(content, partial(content.iter_chunks, CHUNK_SIZE))
    if isinstance(content, HTTPResponse):
        return _Bytes(content, partial(_http_chunks, content))
    if _can(content, "read", "drain_conn"):
        return _Bytes(content, partial(_urllib3_chunks, content))
    # Not by `getattr`: elsewhere a property of that name reads the whole.
    body: Any = getattr(content, "__dict__", {}).get("content")
    if not _can(body, "iter_any", "at_eof"):
        return None
    return _AsyncBytes(content, partial(_aiohttp_chunks, content, body))


def way_out(content: Any) -> str:
    """What to pass in place of content that can't be streamed as it is; "" if nothing is known."""
    if _can(content, "savefig"):
        return "; write it: iterate_writes(lambda file: figure.savefig(file, format='png'))"
    if _can(content, "save"):
        return "; write it: iterate_writes(lambda file: image.save(file, 'PNG'))"
    if hasattr(type(content), "__getitem__") and hasattr(type(content), "keys"):
        if _can(content.get("Body"), "read"):
            return "; pass what it has as 'Body'"
        return "; for one JSON object use JSONResponse, for a stream of them put them in a list"
    return ""


def _can(thing: Any, *names: str) -> bool:
    return all(callable(getattr(type(thing), name, None)) for name in names)


class _Bytes:
    """A sync response of another library."""

    def __init__(self, response: Any, chunks: Callable[[], Iterable[bytes]]) -> None:
        self._response = response
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._chunks())

    def close(self) -> None:
        self._response.close()


def _http_chunks(response: HTTPResponse) -> Iterator[bytes]:
    """The bytes of urllib's response, which takes one that was cut for whole if read in pieces."""
    while chunk := response.read1(CHUNK_SIZE):
        yield chunk
    if response.length:
        raise IncompleteRead(b"", response.length)


def _urllib3_chunks(response: Any) -> Iterator[bytes]:
    """The bytes of urllib3's response, which by default has read them already, and gives none."""
    empty = True
    for chunk in file_chunks(response, CHUNK_SIZE):
        empty = False
        yield chunk
    if empty:
        yield response.data


def _aiohttp_chunks(response: Any, body: Any) -> AsyncIterable[bytes]:
    """The bytes of aiohttp's response, whose stream gives none once `read` was called."""
    chunks: AsyncIterable[bytes] = _kept(response) if body.at_eof() else body.iter_any()
    return chunks


async def _kept(response: Any) -> AsyncIterator[bytes]:
    yield await response.read()


class _AsyncBytes:
    """An async response of another library."""

    def __init__(self, response: Any, chunks: Callable[[], AsyncIterable[bytes]]) -> None:
        self._response = response
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._chunks())

    async def aclose(self) -> None:
        if (error := await close_async(self._response)) is not None:
            raise error


class _Process:
    """What a process writes; it is killed if it still runs when the response ends.

    A status other than 0 is an error, as what it wrote need not be whole.
    """

    def __init__(self, process: Any) -> None:
        if getattr(process, "stdout", None) is None:
            raise TypeError(
                f"a process is streamed by what it writes, and this {type(process).__name__} has "
                f"no stdout: start it with stdout=subprocess.PIPE"
            )
        self._process = process

    async def __aiter__(self) -> AsyncIterator[bytes]:
        chunks = self._chunks()
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            if isinstance(chunks, AsyncGenerator):
                await chunks.aclose()
        status = await self._wait()
        if status:
            command = getattr(self._process, "args", None) or type(self._process).__name__
            raise subprocess.CalledProcessError(status, command)

    def _chunks(self) -> AsyncIterator[bytes]:
        stdout: Any = self._process.stdout
        if not iscoroutinefunction(self._process.wait):
            # A text file stands on one of bytes.
            return _pipe_chunks(getattr(stdout, "buffer", stdout))
        return _reader_chunks(stdout) if _can(stdout, "read") else aiter(stdout)

    async def _wait(self) -> int:
        """Wait until it has ended, and reap it.

        By looking: the `wait` of some kinds also waits until nobody else holds the pipes.
        """
        poll = getattr(self._process, "poll", None)
        pause = FIRST_LOOK
        while True:
            status: int | None = self._process.returncode if poll is None else poll()
            if status is not None:
                return status
            await anyio.sleep(pause)
            pause = min(2 * pause, LAST_LOOK)

    async def aclose(self) -> None:
        process = self._process
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await self._wait()
        # asyncio closes its pipes with the transport, which it offers by no other name.
        transport = getattr(process, "_transport", None)
        pipes = () if transport is not None else (process.stdin, process.stdout, process.stderr)
        error = await close_async(*(pipe for pipe in (transport, *pipes) if pipe is not None))
        # What was left to be written to its stdin is of no use any more.
        if error is not None and not isinstance(error, BrokenPipeError):
            raise error


async def _reader_chunks(reader: Any) -> AsyncIterator[bytes]:
    while chunk := await reader.read(CHUNK_SIZE):
        yield chunk


async def _pipe_chunks(pipe: Any) -> AsyncIterator[bytes]:
    """What a pipe gives, as it comes."""
    if sys.platform == "win32":  # pragma: no cover - not on this one
        # A read can't be interrupted there, but it ends with the process.
        read = partial(getattr(pipe, "read1", pipe.read), CHUNK_SIZE)
        while chunk := await run_abandonable(read):
            yield chunk
        return
    number = pipe.fileno()
    os.set_blocking(number, False)
    # A buffered file may hold what was read already.
    if hasattr(pipe, "peek") and (held := pipe.peek(0)):
        yield pipe.read1(len(held))
    while True:
        try:
            chunk = os.read(number, CHUNK_SIZE)
        except BlockingIOError:
            await anyio.wait_readable(number)
            continue
        if not chunk:
            return
        yield chunk
