"""The tables of the reference's pages, for those who read them in the repository.

    python -m tests.reference

writes, between the markers of each page in docs/reference: the names of the page with the first
sentence of their docstrings, and the options as they are declared.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import streamkit
from streamkit.declare import Option, options_of
from tests.documentation import ROOT

PAGES = sorted((ROOT / "docs" / "reference").glob("*.md"))
NAMES = re.compile(r"<!-- names -->\n(.*?)<!-- /names -->\n", re.DOTALL)
OPTIONS = re.compile(r"<!-- options (\w+) -->\n(.*?)<!-- /options -->\n", re.DOTALL)


def with_tables(page: str) -> str:
    """The page as its tables should be."""
    listed = re.findall(r"^::: (streamkit\.[\w.]*[A-Za-z_]+)$", page, re.MULTILINE)
    names = [name for name in listed if name != "streamkit.errors"]
    page = NAMES.sub(lambda _: f"<!-- names -->\n{name_table(names)}<!-- /names -->\n", page)
    return OPTIONS.sub(
        lambda found: f"<!-- options {found[1]} -->\n{option_table(found[1])}<!-- /options -->\n",
        page,
    )


def name_table(names: list[str]) -> str:
    rows = "".join(f"| `{name.rpartition('.')[2]}` | {first_sentence(name)} |\n" for name in names)
    return f"| name | what it is |\n|---|---|\n{rows}"


def first_sentence(name: str) -> str:
    module, _, attribute = name.rpartition(".")
    thing = getattr(resolve_name(module), attribute)
    paragraph = inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0]
    return cell(paragraph.rstrip(":") + ("." if paragraph.endswith(":") else ""))


def option_table(class_name: str) -> str:
    """The options that a class has beyond those of StreamingResponse, or those of the latter."""
    response = getattr(streamkit, class_name)
    base = streamkit.StreamingResponse
    declared = options_of(response.options)
    if response is not base:
        declared = {n: o for n, o in declared.items() if n not in options_of(base.options)}
    rows = "".join(option_row(response, name, option) for name, option in declared.items())
    return f"| option | default | unit | what it does |\n|---|---|---|---|\n{rows}"


def option_row(response: type, name: str, option: Option | None) -> str:
    unit, text = (option.unit, option.text) if option else ("", "")
    return f"| `{name}` | {default(getattr(response, name))} | {unit} | {cell(text)} |\n"


def default(value: Any) -> str:
    if inspect.isclass(value) or inspect.isroutine(value):
        return "" if value.__module__.startswith("streamkit") else f"`{value.__qualname__}`"
    return "`" + repr(value).replace("'", '"') + "`"


def cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def main(pages: list[Path] = PAGES) -> None:
    for page in pages:
        text = page.read_text(encoding="utf-8")
        page.write_text(with_tables(text), encoding="utf-8")


if __name__ == "__main__":
    main()
