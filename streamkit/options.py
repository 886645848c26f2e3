"""The options that every response has."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypedDict

from streamkit.compress import offered_codings
from streamkit.declare import Option, flag, function, seconds, some_seconds, whole_number
from streamkit.encoders import Encoder
from streamkit.encoders.charsets import find_charset
from streamkit.encoders.text import TextEncoder
from streamkit.limit import StreamLimit

__all__ = ["ResponseOptions"]


def rate(name: str, value: Any) -> None:
    """None, or a number of bytes a second above 0."""
    if value is not None:
        above_zero(name, value)


def above_zero(name: str, value: Any) -> None:
    """A number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}: {value!r}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be a number above 0, got {value!r}")


def stream_limit(name: str, value: Any) -> None:
    """None, or a `StreamLimit`."""
    if value is not None and not isinstance(value, StreamLimit):
        raise TypeError(f"{name} must be a StreamLimit, got {type(value).__name__}: {value!r}")


def codings(name: str, value: Any) -> None:
    """What `compress` may be."""
    offered_codings(value)


def charset_name(name: str, value: Any) -> None:
    """The name of a charset that Python can encode text in."""
    find_charset(value)


class ResponseOptions(TypedDict, total=False):
    """The options of every response: class attributes, and keyword arguments as well."""

    charset: Annotated[str, Option("utf-8", charset_name, text="The charset of `str` items.")]
    encoder: Annotated[
        Callable[[], Encoder[Any]],
        Option(TextEncoder, function, text="A class that gives a fresh encoder.", arguments=0),
    ]
    max_buffer: Annotated[
        int,
        Option(
            65536,
            whole_number,
            "bytes",
            "Items that come together leave in batches of this size; a thread may be this far "
            "ahead of the client.",
        ),
    ]
    first_chunk_timeout: Annotated[
        float | None,
        Option(
            0.5,
            seconds,
            "seconds",
            "How long the headers wait for the first chunk, so that an exception raised before "
            "it becomes a real status. 0: never. None: until it comes.",
        ),
    ]
    send_timeout: Annotated[
        float | None,
        Option(
            None, some_seconds, "seconds", "A client that takes nothing for so long is dropped."
        ),
    ]
    item_timeout: Annotated[
        float | None,
        Option(
            None,
            some_seconds,
            "seconds",
            "Content that gives nothing for so long has failed: a 504, or later a cut.",
        ),
    ]
    thread_timeout: Annotated[
        float | None,
        Option(
            30.0,
            some_seconds,
            "seconds",
            "Sync content that gets no thread for so long is a 503.",
        ),
    ]
    keep_alive: Annotated[
        float | None,
        Option(
            None, some_seconds, "seconds", "Silence after which `encoder.keep_alive()` is sent."
        ),
    ]
    deadline: Annotated[
        float | None,
        Option(None, some_seconds, "seconds", "A response that takes longer is cut."),
    ]
    min_rate: Annotated[
        float | None,
        Option(
            None, rate, "bytes a second", "A client that takes less, after its grace, is dropped."
        ),
    ]
    min_rate_grace: Annotated[
        float, Option(10.0, above_zero, "seconds", "What a client has in hand for `min_rate`.")
    ]
    max_rate: Annotated[
        float | None, Option(None, rate, "bytes a second", "No more is sent, evenly.")
    ]
    limit: Annotated[
        StreamLimit | None, Option(None, stream_limit, text="How many may be open at once.")
    ]
    compress: Annotated[
        bool | str | Sequence[str],
        Option(
            False,
            codings,
            text="Compress streams of text: True for what there is (zstd, br, gzip), or the "
            "codings to offer, in order.",
        ),
    ]
    cleanup_timeout: Annotated[
        float | None,
        Option(
            30.0,
            seconds,
            "seconds",
            "What the content's cleanup may take after the response ended.",
        ),
    ]
    thread_affine: Annotated[
        bool, Option(False, flag, text="One thread for a sync iterable's life, as sqlite3 needs.")
    ]
    error_frames: Annotated[
        bool,
        Option(
            False, flag, text="Where the format has a frame for errors, send it before the cut."
        ),
    ]
    error_detail: Annotated[
        Callable[[Exception], str | None] | None,
        Option(None, function, text="What clients may read of an exception.", arguments=1),
    ]
