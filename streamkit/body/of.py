"""The one place that decides what a content is, and which body drives it."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from inspect import isawaitable, iscoroutine, isfunction
from types import AsyncGeneratorType, GeneratorType
from typing import Any

from starlette.datastructures import UploadFile

from streamkit import loop
from streamkit.adapters.files import is_async_file, whole_async_chunks, whole_chunks
from streamkit.body.base import Body
from streamkit.body.direct import DirectBody
from streamkit.body.fastapi import unwrap
from streamkit.body.pumped import PumpedBody
from streamkit.body.readymade import adapted, way_out
from streamkit.body.source import PlanContent, WholeBytes, WholeSource
from streamkit.body.stepped import SteppedBody
from streamkit.body.threaded import ThreadedBody
from streamkit.encoders.rows import refuse_table
from streamkit.encoders.text import TextEncoder
from streamkit.http.mediatypes import is_textual
from streamkit.sources import ByteSource, FileSource, PathSource, is_seekable

__all__ = ["Opened", "body_of", "close_abandoned", "open_content", "refuse_name"]

GENERATORS = (GeneratorType, AsyncGeneratorType)

# What a content is: a source, sync content with its body, or async content, whose body depends on
# the loop that will run it.
Opened = ByteSource | ThreadedBody | AsyncIterable[Any]


def open_content(
    content: Any, *, thread_affine: bool, owner: str, charset: str | None = "utf-8"
) -> Opened:
    """What will give the bytes or items of any content; nothing is opened or iterated here.

    `charset` None says that `owner`, a class of which the errors speak, takes items, not bytes.
    """
    if type(content) in GENERATORS:
        # As nearly always; nothing of what follows applies.
        return _driven(content, thread_affine)
    if (source := _source_of(content, charset or "utf-8")) is not None:
        _check_takes_bytes(content, owner, charset)
        return source
    if (made := adapted(content)) is not None:
        _check_takes_bytes(content, owner, charset)
        return _driven(made, thread_affine)
    _check_readable(content, owner)
    if callable(getattr(content, "read", None)):
        _check_takes_bytes(content, owner, charset)
        if is_async_file(content):
            return _driven(_AsyncFileContent(content), thread_affine)
        if is_seekable(content):
            return FileSource(content)
        return _driven(_FileContent(content), thread_affine)
    refuse_table(content, owner)
    if isinstance(content, Mapping) or not isinstance(content, AsyncIterable | Iterable):
        raise _refusal(content, owner)
    return _driven(content, thread_affine)


def _driven(content: Any, thread_affine: bool) -> Opened:
    opened: Opened | None = None
    if hand_over := getattr(content, "_hand_over", None):
        opened = hand_over()
    is_async = type(content) is AsyncGeneratorType or isinstance(content, AsyncIterable)
    if opened is None and is_async:
        opened = unwrap(content)
    return ThreadedBody(content, thread_affine=thread_affine) if opened is None else opened


def body_of(opened: Opened) -> Body:
    """The body for what `open_content` gave; on the loop that is going to run it."""
    if isinstance(opened, ThreadedBody):
        return opened
    make_body: Callable[[], Body] | None = getattr(opened, "make_body", None)
    if make_body is not None:
        return make_body()
    is_source = type(opened) is not AsyncGeneratorType and isinstance(opened, ByteSource)
    content: Any = WholeSource(opened) if is_source else opened  # type: ignore[arg-type]
    if not loop.in_trio():
        return SteppedBody(content)
    # trio parks a task as soon as it waits, so that content can't be driven by hand there.
    return DirectBody(content) if isinstance(content, PlanContent) else PumpedBody(content)


def _source_of(content: Any, charset: str) -> ByteSource | None:
    if isinstance(content, str):
        return WholeBytes(TextEncoder(charset).encode(content))
    if isinstance(content, bytes | bytearray | memoryview):
        return WholeBytes(content)
    if isinstance(content, ByteSource):
        return content
    if isinstance(content, UploadFile):
        return FileSource(content)
    if isinstance(content, os.PathLike):
        return PathSource(content)
    return None


def _check_takes_bytes(content: Any, owner: str, charset: str | None) -> None:
    if charset is None:
        raise TypeError(
            f"{owner} streams items, and takes an iterable or async iterable of them, "
            f"got {type(content).__name__}; for bytes that are encoded already use "
            f"StreamingResponse with media_type, or, for those of server-sent events, pass an "
            f"iterable of them, such as response.aiter_bytes()"
        )


def _check_readable(content: Any, owner: str) -> None:
    readable = getattr(content, "readable", None)
    if isinstance(content, io.IOBase) and callable(readable) and not readable():
        raise TypeError(
            f"{owner} reads the files it is given, and {content!r} is open for writing only"
        )


def refuse_name(content: Any, media_type: str | None, owner: str) -> None:
    """Refuse a `str` as the whole of what isn't text: it is the name of a file, most often."""
    if isinstance(content, str) and media_type is not None and not is_textual(media_type):
        raise TypeError(
            f"{owner} was given a str to send as {media_type}, which is not text: "
            f"{content!r:.80}; for the file of that name pass a Path, or use "
            f"FileStreamingResponse; for these characters themselves pass content.encode()"
        )


def close_abandoned(content: Any) -> None:
    """Close content whose response could not be constructed, on the loop if there is one."""
    try:
        opened = open_content(content, thread_affine=False, owner="response")
    except Exception:
        # The content itself was refused: it was never taken.
        return

    async def close() -> None:
        await body_of(opened).aclose()

    loop.run_somewhere(close)


# FastAPI makes such a response of whatever an endpoint returns.
_ORDINARY = (
    "; as FastAPI's default_response_class it is that of every route: make it the response_class "
    "of those that stream"
)


def _refusal(content: Any, owner: str) -> TypeError:
    given = type(content).__name__
    if iscoroutine(content):
        content.close()
        hint = "; await it first"
    elif isfunction(content):
        hint = f"; call it: {content.__name__}()"
    else:
        hint = f"{way_out(content) or '; for a fixed body use Response'}{_ORDINARY}"
    return TypeError(
        f"{owner} content must be an iterable or async iterable, a file, a path, str or bytes, "
        f"got {given}{hint}"
    )


class _FileContent:
    """An open file that can't seek, or holds text; the response owns it."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __iter__(self) -> Iterator[Any]:
        return whole_chunks(self._file)

    def close(self) -> None:
        if close := getattr(self._file, "close", None):
            close()


class _AsyncFileContent:
    """An open async file, which the response owns."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __aiter__(self) -> AsyncIterator[Any]:
        return whole_async_chunks(self._file)

    async def aclose(self) -> None:
        close = getattr(self._file, "aclose", None) or getattr(self._file, "close", None)
        if close is not None and isawaitable(result := close()):
            await result
