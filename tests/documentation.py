"""The programs of the README and of docs/: where they are, and how to run them.

    python -m tests.documentation FOLDER

writes each into a module of its own, with a configuration for mypy and pyright.
"""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import pytest

import streamkit
from streamkit.testing import FetchedResponse, fetch, stream

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
# Seconds after the first chunk, and bytes, after which a client leaves a stream without an end.
LEAVE_AFTER, ENOUGH = 1.0, 1_000_000
# The gallery's film, and an empty box (ISO/IEC 14496-12, 8.1.2) that makes it many chunks long.
FILM = (Path(streamkit.__file__).parent / "demo" / "film.mp4").read_bytes()
FILM += (200_000).to_bytes(4, "big") + b"free" + bytes(199_992)
PDF = bytes(range(256)) * 4000
ARGUMENTS = {"name": "readme.txt", "day": "monday"}
# Examples are typed as far as their authors wrote types, and use packages without stubs.
MYPY = """\
[mypy]
check_untyped_defs = true
ignore_missing_imports = true
disable_error_code = import-untyped, var-annotated
"""
PYRIGHT = {
    "typeCheckingMode": "basic",
    "reportMissingImports": False,
    "reportMissingModuleSource": False,
    # A method without annotations has the types of the one that it replaces: `end` may be None.
    "reportOperatorIssue": False,
    "reportOptionalOperand": False,
    "pythonVersion": "3.11",
}


@dataclass(frozen=True)
class Program:
    """A Python block of a page."""

    page: Path
    line: int
    source: str

    @property
    def where(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def programs() -> Iterator[Program]:
    """Every Python block of the pages, but each text once."""
    seen = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if found[1] not in seen:
                seen.add(found[1])
                yield Program(page, text.count("\n", 0, found.start()) + 2, found[1])


def run_program(program: str, page: str = "program", line: int = 1) -> dict[str, Any]:
    """Run a program and give its names; its tracebacks point into the page."""
    module = types.ModuleType("docs_block")
    # Pydantic resolves annotations by way of the module.
    sys.modules[module.__name__] = module
    exec(compile("\n" * (line - 1) + program, page, "exec"), module.__dict__)
    return module.__dict__


def skip_without_what_it_needs(source: str) -> None:
    """Skip the test if a program imports or calls something that is not installed."""
    if "ffmpeg" in source and not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    for name in imported(source):
        if name.partition(".")[0] not in {*sys.stdlib_module_names, "streamkit"}:
            pytest.importorskip(name)


def imported(source: str) -> Iterator[str]:
    """The modules that a program imports when it starts."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)


def example(name: str) -> pytest.MarkDecorator:
    """Gives the fixture `app` the app of a file in docs/examples."""
    return pytest.mark.parametrize("app", [name], indirect=True, ids=[name])


def run_example(name: str) -> dict[str, Any]:
    """The names of a program in docs/examples."""
    path = ROOT / "docs" / "examples" / f"{name}.py"
    skip_without_what_it_needs(path.read_text(encoding="utf-8"))
    return runpy.run_path(str(path))


def get(app: Any, path: str, **headers: str) -> FetchedResponse:
    """A whole response of an app."""

    async def response() -> FetchedResponse:
        return await fetch(app, path, headers=headers)

    return anyio.run(response)


# They need the id of a run, or a Redis: tests/live/test_docs.py has them.
NEED_MORE = ("/streams/{id}", "/clicks")


def paths(app: Any) -> list[str]:
    """What can be asked for with GET, with values for its parameters."""

    def argument(found: re.Match[str]) -> str:
        return ARGUMENTS.get(found[1], "1")

    found = app.openapi()["paths"].items()
    asked = [
        path
        for path, ways in found
        # A job has to be started first.
        if "get" in ways and not path.endswith(NEED_MORE) and "{job}" not in path
    ]
    return [re.sub(r"{(\w+)(?::\w+)?}", argument, path) for path in asked]


async def read_until_enough(app: Any, path: str) -> None:
    """Read a response; leave one that goes on and on."""
    async with app.router.lifespan_context(app), stream(app, path) as client:
        assert client.status == 200
        with anyio.fail_after(30):
            await anext(client)
        with anyio.move_on_after(LEAVE_AFTER):
            async for _ in client:
                if client.bytes_received > ENOUGH:
                    break
        assert client.error is None
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()


def write_for_type_checkers(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mypy.ini").write_text(MYPY, encoding="utf-8")
    (folder / "pyrightconfig.json").write_text(json.dumps(PYRIGHT), encoding="utf-8")
    for program in programs():
        name = re.sub(r"\W+", "_", program.where.removeprefix("docs/"))
        # With its line numbers: an error in docs_csv_md_12.py:15 is in that page's line 15.
        text = "\n" * (program.line - 1) + program.source
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write_for_type_checkers(Path(sys.argv[1]))
