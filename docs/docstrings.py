"""Makes Markdown of docstrings, for the reference: fenced examples, links to other names."""

from __future__ import annotations

import ast
import re
from textwrap import dedent
from typing import Any

import griffe

import streamkit
import streamkit.testing

LINKS = {name: f"streamkit.{name}" for name in streamkit.__all__} | {
    name: f"streamkit.testing.{name}" for name in streamkit.testing.__all__
}
INDENTED = re.compile(r"(?:^ {4}.*\n(?:\s*\n(?= {4}))*)+", re.MULTILINE)
DOCTEST = re.compile(r"^>>> .*\n(?:.+\n)*", re.MULTILINE)


class MarkdownDocstrings(griffe.Extension):
    """Has mkdocstrings render what help() shows as plain text."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj.name)


def markdown(docstring: str, owner: str) -> str:
    parts = re.split(r"(^```.*?^```$)", fenced(docstring), flags=re.MULTILINE | re.DOTALL)
    parts[::2] = [linked(text, owner) for text in parts[::2]]
    return "".join(parts)


def fenced(docstring: str) -> str:
    text = INDENTED.sub(_example, docstring.strip() + "\n")
    return DOCTEST.sub(lambda found: _fence("pycon", found[0]), text)


def _example(found: re.Match[str]) -> str:
    code = dedent(found[0])
    try:
        ast.parse(code)
    except SyntaxError:
        return _fence("text", code)
    return _fence("python", code)


def _fence(language: str, code: str) -> str:
    return f"```{language}\n{code.rstrip()}\n```\n"


def linked(text: str, owner: str) -> str:
    """Names of the library lead to their entry, but not to the one that they stand in."""

    def link(found: re.Match[str]) -> str:
        name = found[1]
        return f"[`{name}`][{LINKS[name]}]" if name in LINKS and name != owner else found[0]

    return re.sub(r"`(\w+)`", link, text)
