"""The package's metadata: extras, the links of its README, the workflows of its repository."""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.fixture(scope="module")
def metadata() -> dict[str, Any]:
    pytest.importorskip("hatchling")
    return runpy.run_path(str(ROOT / ".ci" / "metadata.py"))


def test_the_extra_all_names_every_other() -> None:
    extras = sorted(PROJECT["optional-dependencies"].keys() - {"all"})

    assert PROJECT["optional-dependencies"]["all"] == [f"streamkit[{','.join(extras)}]"]


@pytest.mark.parametrize(
    ("markdown", "absolute"),
    [
        ("[a](docs/a.md#b)", "[a](https://host/o/r/blob/abc/docs/a.md#b)"),
        ("![a picture](docs/a.png)", "![a picture](https://host/o/r/raw/abc/docs/a.png)"),
        ("[a](https://other/x.md)", "[a](https://other/x.md)"),
        ("[a](mailto:a@b)", "[a](mailto:a@b)"),
        ("[a](#options)", "[a](#options)"),
        ("`Rows[int]` (see [a](b))", "`Rows[int]` (see [a](https://host/o/r/blob/abc/b))"),
    ],
)
def test_relative_links_of_the_readme_become_absolute(
    metadata: dict[str, Any], markdown: str, absolute: str
) -> None:
    assert metadata["absolute_links"](markdown, "https://host/o/r", "abc") == absolute


@pytest.mark.parametrize(
    ("environ", "address", "revision"),
    [
        ({}, None, "HEAD"),
        ({"STREAMKIT_REPOSITORY": "https://host/o/r"}, "https://host/o/r", "HEAD"),
        (
            {
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_SHA": "abc",
            },
            "https://github.com/o/r",
            "abc",
        ),
    ],
)
def test_a_release_knows_its_address(
    metadata: dict[str, Any], environ: dict[str, str], address: str | None, revision: str
) -> None:
    assert metadata["repository"](environ) == (address, revision)
