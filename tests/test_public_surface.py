from __future__ import annotations

import ast
import copy
import doctest
import importlib
import inspect
import pickle
import pkgutil
import re
import subprocess
import sys
from importlib import metadata, resources
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

import pytest

import streamkit
import streamkit.testing

ROOT = Path(__file__).parents[1]
# Modules all of whose public names are the package's as well.
PUBLIC_MODULES = ["adapters", "errors", "formats", "media", "sources"]
MODULES = [
    name
    for _, name, _ in pkgutil.walk_packages(streamkit.__path__, "streamkit.")
    if name != "streamkit.__main__"
]
PUBLIC = {f"streamkit.{name}": getattr(streamkit, name) for name in streamkit.__all__} | {
    f"streamkit.testing.{name}": getattr(streamkit.testing, name)
    for name in streamkit.testing.__all__
}


def is_one_line(thing: Any) -> bool:
    """A typed response that differs in its media type alone, an exception or a set of types."""
    if not inspect.isclass(thing):
        return False
    attributes = {name for name in vars(thing) if not name.startswith("_")}
    return (
        issubclass(thing, Exception)
        or attributes == {"media_type"}
        or hasattr(thing, "__required_keys__")
    )


BEHAVING = {name: thing for name, thing in PUBLIC.items() if not is_one_line(thing)}


@pytest.mark.parametrize("module", [streamkit, streamkit.testing], ids=["streamkit", "testing"])
def test_all_is_sorted_and_without_repetition(module: ModuleType) -> None:
    assert module.__all__ == sorted(set(module.__all__))


def test_the_package_holds_its_public_names_and_nothing_else() -> None:
    names = {
        name
        for name, thing in vars(streamkit).items()
        if not name.startswith("__") and not inspect.ismodule(thing)
    }
    assert names - {"annotations"} == set(streamkit.__all__)


@pytest.mark.parametrize("name", PUBLIC_MODULES)
def test_the_names_of_a_public_module_are_the_packages(name: str) -> None:
    module = importlib.import_module(f"streamkit.{name}")
    missing = set(module.__all__) - set(streamkit.__all__)
    assert not missing
    for public in module.__all__:
        assert inspect.isclass(getattr(streamkit, public)) or callable(getattr(streamkit, public))


@pytest.mark.parametrize("name", MODULES)
def test_what_a_module_says_is_public_is_there(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        assert hasattr(module, public), public


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_name_is_documented_in_a_sentence(name: str) -> None:
    thing = PUBLIC[name]
    doc = thing.__doc__ or ""
    assert doc.strip()
    first = inspect.cleandoc(doc).split("\n\n")[0]
    assert re.search(r"[.:]$", first), first
    # What `dataclass` and `TypedDict` write when nobody else does.
    assert not doc.startswith(f"{thing.__name__}(")


@pytest.mark.parametrize("name", BEHAVING)
def test_a_public_name_has_an_example_that_is_python(name: str) -> None:
    assert examples(BEHAVING[name]), "no indented example"
    for example in examples(BEHAVING[name]):
        ast.parse(example)


@pytest.mark.parametrize("name", BEHAVING)
def test_the_public_methods_of_a_public_class_are_documented(name: str) -> None:
    thing = BEHAVING[name]
    if not inspect.isclass(thing):
        return
    for attribute, value in vars(thing).items():
        if not attribute.startswith("_") and inspect.isfunction(value):
            assert inspect.getdoc(value) or inherits(thing, attribute), attribute


def inherits(thing: type, attribute: str) -> bool:
    return any(attribute in vars(base) for base in thing.__mro__[1:])


def examples(thing: Any) -> list[str]:
    """The indented blocks of a docstring."""
    text = inspect.cleandoc(thing.__doc__ or "")
    blocks = re.findall(r"(?:^(?: {4}.*)?\n?)+", text, re.MULTILINE)
    blocks = [dedent(block) for block in blocks if block.strip()]
    if ">>>" in text:
        blocks += [e.source for e in doctest.DocTestParser().get_examples(text)]
        blocks = [block for block in blocks if not block.startswith(">>>")]
    return blocks


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_give_what_they_say(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert not failed


def test_the_package_is_typed() -> None:
    assert resources.files("streamkit").joinpath("py.typed").is_file()


def test_the_version_is_the_same_everywhere() -> None:
    assert metadata.version("streamkit") == streamkit.__version__
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{streamkit.__version__}]" in changes


def test_the_command_prints_the_version() -> None:
    command = [sys.executable, "-m", "streamkit", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ended.stdout == f"streamkit {streamkit.__version__}\n"


def test_importing_the_package_loads_nothing_that_is_optional() -> None:
    program = "import sys, streamkit; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    loaded = {name.partition(".")[0] for name in ended.stdout.split()}
    assert "streamkit" in loaded
    assert not loaded & {"fastapi", "uvicorn", "trio", "uvloop", "httpx", "pytest"}


@pytest.mark.parametrize(
    "error",
    [
        streamkit.GraceExceeded(),
        streamkit.SendTimeout(2.5),
        streamkit.SourceError("short"),
        streamkit.StreamStopped("gone"),
        streamkit.BodyCut(10),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_exception_can_be_copied_as_logging_and_processes_do(error: Exception) -> None:
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)
