"""The floors: a module imports from its own floor and from those below it, in no circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import streamkit
import streamkit.live

PACKAGE = Path(streamkit.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"

# The table of docs/architecture.md. A package stands for all of its modules.
FLOORS = [
    ["errors", "outcome", "start", "closing", "declare", "rates"],
    ["encoders", "http", "openapi", "compress", "routes", "observing", "limit"],
    ["options", "loop", "pagecache", "threads", "shutdown", "asgi"],
    ["regular", "pythonfile", "bytesource", "sources", "objectstore", "adapters"],
    ["body", "bridge", "iterate"],
    [
        "ending",
        "aside",
        "sender",
        "watch",
        "content",
        "serve",
        "whole",
        "sendable",
        "coded",
        "transfers",
        "respond",
    ],
    ["responses", "archives"],
    ["media", "formats", "fastapi", "live", "observers", "testing"],
    ["demo", "__main__"],
]
# Public names that are not the package's own.
PUBLIC = {"streamkit.fastapi": ["StreamRoute"], "streamkit.live": streamkit.live.__all__}
# Floors of packages that are pure: no framework, no event loop, no threads, no I/O, no clock.
PURE = ["encoders", "http", "openapi"]
IMPURE = {"anyio", "asyncio", "fastapi", "selectors", "socket", "starlette", "threading", "time"}
# Where threads are known of; `shutdown` asks for the main
# one, `testing.encoders` encodes on one that it starts.
THREADING = {
    "body.compressed",
    "body.queue",
    "body.threaded",
    "limit",
    "live.channel",
    "live.core",
    "live.link",
    "live.wire",
    "shutdown",
    "testing.encoders",
    "threads",
}


def read_sources() -> dict[str, str]:
    """Every module by its name below the package, `http.plan`, and its source."""
    sources = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and parts[:-1] else parts)
        sources[name] = path.read_text("utf-8")
    return sources


def imported(source: str) -> Iterator[tuple[str, str]]:
    """What a module imports, wherever it does: pairs of module and name, or "" for all of it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not looked through here"
            yield from ((str(node.module), alias.name) for alias in node.names)


def own_imports(source: str, modules: Mapping[str, str]) -> set[str]:
    """The package's own modules that a module imports; `__init__` for a public name."""
    found = set()
    for module, name in imported(source):
        top, _, below = module.partition(".")
        if top != "streamkit":
            continue
        candidates = (f"{below}.{name}".strip("."), below)
        found.add(next((known for known in candidates if known in modules), "__init__"))
    return found


def floor_of(module: str) -> float:
    top = module.partition(".")[0]
    # The public names stand on top of what they are the names of.
    order = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    return order.get(top, 7.5 if top == "__init__" else -1)


def rises(modules: Mapping[str, str]) -> list[str]:
    return [
        f"{module} (floor {floor_of(module)}) imports {other} (floor {floor_of(other)})"
        for module, source in modules.items()
        for other in sorted(own_imports(source, modules))
        if floor_of(other) > floor_of(module)
    ]


def find_circle(modules: Mapping[str, str]) -> list[str]:
    graph = {module: own_imports(source, modules) for module, source in modules.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        return list(exc.args[1])
    return []


SOURCES = read_sources()


def test_every_module_has_a_floor() -> None:
    tops = {name.partition(".")[0] for name in SOURCES} - {"__init__"}
    assert tops == {name for names in FLOORS for name in names}


def test_no_module_imports_from_a_floor_above_its_own() -> None:
    assert rises(SOURCES) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_circle(SOURCES) == []


@pytest.mark.parametrize("name", [n for n in SOURCES if n.partition(".")[0] in PURE])
def test_a_pure_module_imports_nothing_that_acts(name: str) -> None:
    tops = {module.partition(".")[0] for module, _ in imported(SOURCES[name])}
    assert not tops & IMPURE


def test_threads_are_known_of_in_few_modules() -> None:
    users = {
        name
        for name, source in SOURCES.items()
        if {"threading", "_thread", "concurrent.futures"} & {m for m, _ in imported(source)}
    }
    assert users == THREADING


def test_threads_are_taken_in_one_module() -> None:
    users = {
        name
        for name, source in SOURCES.items()
        if "anyio.to_thread" in {m for m, _ in imported(source)} or "to_thread." in source
    }
    # The other one only speaks of it.
    assert users == {"threads", "bridge"}


@pytest.mark.parametrize("name", [n for n in SOURCES if n.partition(".")[0] in FLOORS[-1]])
def test_the_demo_imports_public_names_only(name: str) -> None:
    for module, imported_name in imported(SOURCES[name]):
        if module.partition(".")[0] == "streamkit" and not module.startswith("streamkit.demo"):
            public = PUBLIC.get(module, [*streamkit.__all__, "__version__"])
            assert module in {"streamkit", *PUBLIC}
            assert imported_name in public


def test_no_module_below_the_demo_imports_public_names() -> None:
    users = {name for name, source in SOURCES.items() if "__init__" in own_imports(source, SOURCES)}
    assert {name.partition(".")[0] for name in users} <= set(FLOORS[-1])


def test_the_page_tells_the_same_floors() -> None:
    if not PAGE.exists():
        pytest.skip("the documentation is not here")
    rows = re.findall(r"^\| (\d+) \| ([^|]*) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    told = [[name.removesuffix("/*") for name in re.findall(r"`(.+?)`", row)] for _, row in rows]
    assert [int(number) for number, _ in rows] == list(range(len(FLOORS)))
    assert [sorted(names) for names in told] == [sorted(names) for names in FLOORS]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from streamkit.loop import spawn", ["errors (floor 0) imports loop (floor 2)"]),
        ("import streamkit.loop", ["errors (floor 0) imports loop (floor 2)"]),
        ("from streamkit import loop", ["errors (floor 0) imports loop (floor 2)"]),
        (
            "def late():\n    import streamkit.http.plan",
            ["errors (floor 0) imports http.plan (floor 1)"],
        ),
        ("from streamkit import Encoder", ["errors (floor 0) imports __init__ (floor 7.5)"]),
        ("import os", []),
    ],
)
def test_a_rise_is_found_however_it_is_written(source: str, found: list[str]) -> None:
    assert rises({"errors": source, "loop": "", "http.plan": ""}) == found


def test_a_circle_is_found() -> None:
    circle = {
        "iterate": "from streamkit.sources import x",
        "sources": "from streamkit import iterate",
        "errors": "",
    }
    assert set(find_circle(circle)) == {"iterate", "sources"}


# Floors of the core, where a class and a module can be read at one sitting.
CORE = {name for floor in FLOORS[2:7] for name in floor} - {"objectstore", "archives"}


@pytest.mark.parametrize("name", sorted(n for n in SOURCES if n.partition(".")[0] in CORE))
def test_the_core_is_short(name: str) -> None:
    source = SOURCES[name]
    assert source.count("\n") <= 300
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < 200, node.name


def test_the_files_of_the_tests_are_short() -> None:
    files = Path(__file__).parent.rglob("*.py")
    assert [file for file in files if file.read_text("utf-8").count("\n") >= 500] == []
