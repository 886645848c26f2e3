"""The documentation's programs run, its links lead somewhere, and its tables are complete."""

from __future__ import annotations

import re
import runpy
import tomllib
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import anyio
import pytest

import streamkit
import streamkit.live
from tests import reference
from tests.documentation import (
    EXAMPLES,
    PAGES,
    ROOT,
    Program,
    paths,
    programs,
    read_until_enough,
    run_program,
    skip_without_what_it_needs,
)
from tests.upstream import servers_for

pytest.importorskip("fastapi")

# The site's own configuration: its pages in their order.
SITE = tomllib.loads((ROOT / ".zensical.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("program", [pytest.param(each, id=each.where) for each in programs()])
@pytest.mark.usefixtures("sample_files")
def test_a_program_in_the_documentation_runs(program: Program) -> None:
    skip_without_what_it_needs(program.source)
    with servers_for(program.source):
        names = run_program(program.source, str(program.page), program.line)

        tests = [value for name, value in names.items() if name.startswith("test_")]
        for test in tests:
            anyio.run(test) if iscoroutinefunction(test) else test()
        if not tests and "app" in names:
            for path in paths(names["app"]):
                anyio.run(read_until_enough, names["app"], path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stands_word_for_word_in_a_page(example: Path) -> None:
    program = f"```python\n{example.read_text(encoding='utf-8')}```\n"

    assert any(program in page.read_text(encoding="utf-8") for page in PAGES)


def test_the_configuration_of_nginx_stands_word_for_word_in_its_page() -> None:
    configuration = (ROOT / "docs" / "examples" / "nginx.conf").read_text(encoding="utf-8")

    page = (ROOT / "docs" / "how-to" / "behind-a-proxy.md").read_text(encoding="utf-8")
    assert f"```nginx\n{configuration}```\n" in page


def listed(entry: Any) -> Iterator[str]:
    """The pages of an entry of the navigation: a page, a title with one, or a list of these."""
    if isinstance(entry, str):
        yield entry
        return
    for below in entry.values() if isinstance(entry, dict) else entry:
        yield from listed(below)


def test_the_site_lists_every_page_once() -> None:
    docs = ROOT / "docs"

    pages = sorted(str(page.relative_to(docs)) for page in docs.rglob("*.md"))
    assert sorted(listed(SITE["nav"])) == pages


def test_the_reference_has_every_public_name_once() -> None:
    pages = "".join(page.read_text("utf-8") for page in (ROOT / "docs/reference").glob("*.md"))
    names = [f"streamkit.{name}" for name in streamkit.__all__]
    names += [f"streamkit.testing.{name}" for name in streamkit.testing.__all__]
    names += [f"streamkit.live.{name}" for name in streamkit.live.__all__]
    names += [
        "streamkit.fastapi.StreamRoute",
        "streamkit.observers.opentelemetry.OpenTelemetryObserver",
        "streamkit.observers.prometheus.PrometheusObserver",
    ]

    documented = re.findall(r"^::: (.*)$", pages, re.MULTILINE)
    assert sorted(documented) == sorted([*names, "streamkit.errors"])


def test_docstrings_become_markdown_with_code_and_links() -> None:
    pytest.importorskip("griffe")
    markdown = runpy.run_path(str(ROOT / "docs" / "docstrings.py"))["markdown"]
    docstring = "\n".join(
        [
            "As `rechunk` or `fetch`; not `Thing`.",
            "",
            "    Thing(1)",
            "",
            "    # and `rechunk`",
            "",
            ">>> Thing(2)",
            "'2'",
            "",
            "    Thing",
            "    ├── None of Python",
        ]
    )

    assert markdown(docstring, "Thing").split("\n") == [
        "As [`rechunk`][streamkit.rechunk] or [`fetch`][streamkit.testing.fetch]; not `Thing`.",
        "",
        *["```python", "Thing(1)", "", "# and `rechunk`", "```", ""],
        *["```pycon", ">>> Thing(2)", "'2'", "```", ""],
        *["```text", "Thing", "├── None of Python", "```", ""],
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if re.match("https?:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.defaults
@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.stem)
def test_the_tables_of_the_reference_are_what_the_command_writes(page: Path) -> None:
    text = page.read_text(encoding="utf-8")

    # To mend it: python -m tests.reference
    assert text == reference.with_tables(text)
    assert "<!-- names -->" in text or page.stem == "index"


def test_the_readme_is_short_and_runs_on_its_first_screen() -> None:
    lines = PAGES[0].read_text(encoding="utf-8").splitlines()

    assert len(lines) <= 200
    first_screen = "\n".join(lines[:45])
    assert "pip install 'streamkit" in first_screen
    assert "```python" in first_screen
