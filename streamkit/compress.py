"""Compression of a body while it is made: coders of gzip, br and zstd, and ready-made siblings.

zstd is `compression.zstd` on Python 3.14, `backports.zstd` before; br is the `brotli` package; gzip
is the standard library's zlib. `pip install streamkit[compress]` brings what is missing.
"""

from __future__ import annotations

import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from streamkit.http.accept_encoding import negotiate

__all__ = [
    "CODINGS",
    "Coder",
    "Sibling",
    "Uncoded",
    "available_codings",
    "find_sibling",
    "make_coder",
    "offered_codings",
]

CODINGS = ("zstd", "br", "gzip")
"""The codings there are, in the order they are offered: the quickest for its bytes first."""

# Default levels: what takes about as long as making JSON does. The first step above them costs
# two to five times the time for a few per cent fewer bytes.
LEVELS = {"zstd": 3, "br": 4, "gzip": 4}
_RANGES = {"zstd": range(1, 20), "br": range(12), "gzip": range(1, 10)}
# A window of 256 KiB. Readers accept 8 MiB (RFC 9659), but each open stream holds its compressor.
WINDOW_LOG = 18
# zstd's tables at the default level: 0.3 MiB for a stream and not 0.8, for 1 % more bytes.
TABLE_LOG = 15
_SUFFIXES = {"zstd": ".zst", "br": ".br", "gzip": ".gz"}


class Coder(Protocol):
    """A compressor of one body."""

    def compress(self, data: bytes, /) -> bytes:
        """Take plain bytes; give what is compressed so far, which may be nothing."""
        ...

    def flush(self) -> bytes:
        """What a reader still needs in order to decode all that was taken."""
        ...

    def finish(self) -> bytes:
        """The end of a whole body; without it every reader sees that the body was cut."""
        ...


class Uncoded:
    """In place of a coder, for a client that accepts none."""

    def compress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    def finish(self) -> bytes:
        return b""


class _GzipCoder:
    def __init__(self, level: int) -> None:
        coder = zlib.compressobj(level, zlib.DEFLATED, 31)
        self.compress: Callable[[bytes], bytes] = coder.compress
        self.flush: Callable[[], bytes] = partial(coder.flush, zlib.Z_SYNC_FLUSH)
        self.finish: Callable[[], bytes] = coder.flush


class _BrotliCoder:
    def __init__(self, brotli: Any, level: int) -> None:
        coder = brotli.Compressor(quality=level, lgwin=WINDOW_LOG)
        self.compress: Callable[[bytes], bytes] = coder.process
        self.flush: Callable[[], bytes] = coder.flush
        self.finish: Callable[[], bytes] = coder.finish


class _ZstdCoder:
    def __init__(self, zstd: Any, level: int) -> None:
        parameter = zstd.CompressionParameter
        options = {parameter.compression_level: level, parameter.window_log: WINDOW_LOG}
        if level == LEVELS["zstd"]:
            options |= {parameter.hash_log: TABLE_LOG, parameter.chain_log: TABLE_LOG}
        coder = zstd.ZstdCompressor(options=options)
        self.compress: Callable[[bytes], bytes] = coder.compress
        self.flush: Callable[[], bytes] = partial(coder.flush, coder.FLUSH_BLOCK)
        self.finish: Callable[[], bytes] = coder.flush


@cache
def _module(coding: str) -> Any:
    """The package behind a coding, or None if it isn't installed."""
    zstd = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    try:
        return import_module({"gzip": "zlib", "br": "brotli", "zstd": zstd}[coding])
    except ImportError:
        return None


def available_codings() -> tuple[str, ...]:
    """The codings whose packages are installed, in the order of `CODINGS`; gzip always is."""
    return tuple(coding for coding in CODINGS if _module(coding) is not None)


def offered_codings(compress: bool | str | Iterable[str]) -> tuple[str, ...]:
    """What the value of an option `compress` offers: True for all there is, or codings in order.

    Raises `TypeError` for what is neither, `ValueError` for a coding that doesn't exist, and
    `ImportError` for one whose package isn't installed.

    >>> offered_codings(["gzip"]), offered_codings(False)
    (('gzip',), ())
    """
    if isinstance(compress, bool):
        return available_codings() if compress else ()
    if not isinstance(compress, Iterable):
        raise TypeError(
            f"compress must be True, False or codings in order of preference, got {compress!r}; "
            f"the codings are {', '.join(CODINGS)}"
        )
    codings = (compress,) if isinstance(compress, str) else tuple(compress)
    for coding in codings:
        _check_coding(coding)
    return codings


def _check_coding(coding: object) -> None:
    if coding not in CODINGS:
        raise ValueError(f"a coding must be one of {', '.join(CODINGS)}, got {coding!r}")
    if _module(str(coding)) is None:
        raise ImportError(
            f"the coding {coding!r} needs a package that isn't installed: "
            f"pip install 'streamkit[compress]'"
        )


def make_coder(coding: str, level: int | None = None) -> Coder:
    """A compressor for one body.

    `level` is the coding's own: 1 to 9 for gzip (4), 0 to 11 for br (4), 1 to 19 for zstd (3).
    An open stream holds its compressor: about 90 KiB for gzip, 0.5 MiB for br and 0.3 for zstd;
    more at other levels, up to 10 MiB at zstd's 9.
    Raises `ValueError` for an unknown coding or a level out of range, `ImportError` if its package
    isn't installed.

        coder = make_coder("gzip")
        body = coder.compress(b"text") + coder.finish()
    """
    _check_coding(coding)
    level = LEVELS[coding] if level is None else level
    levels = _RANGES[coding]
    if not isinstance(level, int) or level not in levels:
        raise ValueError(f"a level of {coding} is {levels[0]} to {levels[-1]}, got {level!r}")
    if coding == "gzip":
        return _GzipCoder(level)
    return (_BrotliCoder if coding == "br" else _ZstdCoder)(_module(coding), level)


class Sibling(NamedTuple):
    """A file that was compressed beforehand, and its coding."""

    path: str
    coding: str


def find_sibling(
    path: str | os.PathLike[str],
    accept_encoding: str | None,
    offered: Sequence[str] = CODINGS,
) -> Sibling | None:
    """The precompressed sibling of a file that a request accepts: `path.zst`, `.br` or `.gz`.

    Only a regular file counts that is not older than `path`, by modification time in whole seconds:
    some tools copy no more of it. None: send the file itself. Blocks, as `os.stat` does, for each
    coding that the request accepts. No package is needed: nothing is compressed here.

        find_sibling("app.js", "br, gzip")  # Sibling("app.js.br", "br")
    """
    wanted = [coding for coding in offered if negotiate(accept_encoding, [coding])]
    if not wanted:
        return None
    name = os.fspath(path)
    plain = _modified(name)
    if plain is None:
        return None
    times = {coding: _modified(name + _SUFFIXES[coding]) for coding in wanted}
    current = [coding for coding, time in times.items() if time is not None and time >= plain]
    coding = negotiate(accept_encoding, current)
    return None if coding is None else Sibling(name + _SUFFIXES[coding], coding)


def _modified(path: str) -> int | None:
    """Whole seconds since the epoch; None for what is no regular file, or can't be seen."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns // 1_000_000_000 if stat.S_ISREG(status.st_mode) else None
