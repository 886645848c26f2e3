"""The source of what runs, taken from where it stands, and coloured."""

from __future__ import annotations

import inspect
import io
import keyword
import tokenize
from collections.abc import Callable, Collection, Iterator
from html import escape
from itertools import accumulate
from pathlib import Path
from typing import Any

__all__ = ["find_helpers", "highlight", "place_of", "public_names", "source_of"]

ROOT = Path(__file__).parents[2]


def source_of(item: Callable[..., Any]) -> str:
    """The source of a function or class, decorators included."""
    return inspect.getsource(item).rstrip()


def place_of(item: Callable[..., Any]) -> str:
    """The file and line where it stands, from the project's root."""
    path = Path(inspect.getfile(item))
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return f"{name}:{inspect.getsourcelines(item)[1]}"


def find_helpers(endpoint: Callable[..., Any]) -> list[Any]:
    """The classes and functions beside the endpoint that it uses."""
    used = inspect.getclosurevars(endpoint).globals.values()
    return [
        item
        for item in used
        if (inspect.isclass(item) or inspect.isfunction(item))
        # An attribute's name counts as used, and may be the endpoint's own.
        and item.__module__ == endpoint.__module__
        and item is not endpoint
    ]


def public_names(item: Callable[..., Any]) -> set[str]:
    """The names in the item's module that come from the library."""
    found = vars(inspect.getmodule(item)).items()
    homes = {name: getattr(value, "__module__", None) or "" for name, value in found}
    package = __name__.partition(".")[0]
    return {
        name
        for name, home in homes.items()
        if home.startswith(f"{package}.") and not home.startswith(f"{package}.demo")
    }


def highlight(source: str, ours: Collection[str] = ()) -> str:
    """HTML of a source: its text is the source, and spans say what is what.

    The names in `ours` are shown as the library's, unless they are attributes of something.
    """
    lines = source.splitlines(keepends=True)
    offsets = [0, *accumulate(map(len, lines))]
    html, position = [], 0
    for kind, (row, column), (end_row, end_column) in _coloured(source, ours):
        start, end = offsets[row - 1] + column, offsets[end_row - 1] + end_column
        html += [escape(source[position:start]), f'<span class="{kind}">']
        html += [escape(source[start:end]), "</span>"]
        position = end
    return "".join([*html, escape(source[position:])])


Span = tuple[str, tuple[int, int], tuple[int, int]]


def _coloured(source: str, ours: Collection[str]) -> Iterator[Span]:
    previous = ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if kind := _kind(token, previous, ours):
            yield kind, token.start, token.end
        if token.string.strip():
            previous = token.string


def _kind(token: tokenize.TokenInfo, previous: str, ours: Collection[str]) -> str:
    # From Python 3.12 on, an f-string is several tokens.
    if token.type == tokenize.STRING or tokenize.tok_name[token.type].startswith("FSTRING"):
        return "str"
    if token.type == tokenize.COMMENT:
        return "rem"
    if token.type == tokenize.NUMBER:
        return "num"
    if token.type == tokenize.NAME:
        return _kind_of_name(token.string, previous, ours)
    return ""


def _kind_of_name(name: str, previous: str, ours: Collection[str]) -> str:
    if keyword.iskeyword(name):
        return "key"
    if previous in ("def", "class"):
        return "name"
    return "ours" if name in ours and previous != "." else ""
