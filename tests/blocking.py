"""Blocking calls on asyncio's loop: any that the library makes raises, but for those listed here.

A call counts whose stack holds a frame of the library, so that content which blocks the loop it is
stepped on is caught as well. The fixture `blocking_calls_raise` turns this on for every test file,
and `no_blocking_call_is_hidden` fails the test whose content raised so, whatever became of that.
"""

from __future__ import annotations

import io
import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

import streamkit
import streamkit.testing

__all__ = ["ALLOWED", "OF_TESTS", "raise_for_blocking_calls"]

# Blocking calls that are made on the loop on purpose: where, and why.
ALLOWED = {
    ("streamkit/sources.py", "__init__"): "the working directory may change until the file is read",
    ("streamkit/archives/folder.py", "__init__"): "the same",
    ("streamkit/media.py", "_guess_type"): "Python reads its table of media types once",
    ("streamkit/asgi/connection.py", "_sockets"): "/proc is in memory; a body that failed is cut",
    ("streamkit/asgi/connection.py", "_list_descriptors"): "the same, for a shutdown",
    ("streamkit/asgi/listeners.py", "__init__"): "the same: whether the server still listens",
    ("logging/__init__.py", "handle"): "a log is written where it arises, as everywhere on a loop",
    ("streamkit/testing/server.py", "_send_file"): "the server of the tests reads what it is named",
}
# What tests do themselves, below a frame of the library.
OF_TESTS = {
    ("tests/closing/contents.py", "_open_files"): "an `on_close` lists /proc",
    ("tests/closing/contents.py", "<setcomp>"): "the same, before Python 3.12",
    ("tests/body/test_stepped.py", "on_a_future_of_threads"): "the content joins a thread",
    ("tests/archives/test_sizes.py", "send"): "a `send` writes to a file",
    ("tests/archives/test_ranges.py", "known"): "a folder is listed here, and not on a thread",
    ("tests/test_content.py", "block"): "a `send` holds the loop",
    ("tests/test_content.py", "hold_the_loop"): "the content does",
    ("tests/test_failing_threads.py", "trace"): "a tracer holds a thread where it fails",
    ("tests/test_own_cancellation.py", "at_a_bare_yield"): "the content holds the loop",
    ("/inspect.py", "getsourcefile"): "FastAPI looks for what its errors name",
    ("docs/examples/tail_log.py", "tail"): "the end of a log is in the page cache",
    ("docs/how-to/tail-a-log.md", "tail"): "the same",
    ("coverage/inorout.py", "should_trace"): "coverage looks at each file that it meets",
}
# Calls that blockbuster does not know of.
MORE = [(os, "open"), (os, "lstat"), (os, "pread"), (os, "preadv"), (io, "open")]


@contextmanager
def raise_for_blocking_calls() -> Iterator[list[str]]:
    """Let blocking calls on a running loop raise `blockbuster.BlockingError`; gives their stacks.

    The list grows meanwhile.
    """
    from blockbuster import BlockBusterFunction, BlockingError, blockbuster_ctx

    raised: list[str] = []

    class Noted(BlockingError):
        def __init__(self, function: str) -> None:
            super().__init__(function)
            raised.append(f"{self}\n{''.join(traceback.format_stack(limit=12)[:-2])}")

    excluded = [streamkit.testing]
    with (
        pytest.MonkeyPatch.context() as patch,
        blockbuster_ctx(streamkit, excluded_modules=excluded) as guard,
    ):
        patch.setattr("blockbuster.blockbuster.BlockingError", Noted)
        for module, name in MORE:
            guard.functions[f"{module.__name__}.{name}"] = BlockBusterFunction(
                module,
                name,
                scanned_modules=streamkit,
                excluded_modules=excluded,
                can_block_predicate=_takes_only_what_is_cached,
            ).activate()
        for file, function in ALLOWED | OF_TESTS:
            for blocking in guard.functions.values():
                blocking.can_block_in(file, function)
        yield raised


def _takes_only_what_is_cached(*arguments: Any, **_: Any) -> bool:
    """Whether a `preadv` takes only what the page cache has."""
    return len(arguments) == 4 and arguments[3] == getattr(os, "RWF_NOWAIT", -1)
