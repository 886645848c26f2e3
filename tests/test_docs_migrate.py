"""The page about other classes: each program answers as it did before the changes shown."""

from __future__ import annotations

import re

import pytest

from tests.documentation import ROOT, get, run_program, skip_without_what_it_needs

pytest.importorskip("fastapi")


def hunks() -> list[tuple[list[str], list[str]]]:
    """The changes that the page shows: the lines taken out, and those put in."""
    page = (ROOT / "docs" / "how-to" / "migrate.md").read_text(encoding="utf-8")
    diffs = re.findall(r"^```diff\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    changes = [hunk.splitlines() for diff in diffs for hunk in diff.split("\n\n")]
    return [
        tuple([line[1:] for line in lines if line[0] == sign] for sign in "-+")  # type: ignore[misc]
        for lines in changes
    ]


def before(program: str) -> str:
    """What a program of the page was before it was changed."""
    for old, new in hunks():
        if all(f"{line}\n" in program for line in new):
            first, *rest = new
            program = program.replace(f"{first}\n", "".join(f"{line}\n" for line in old))
            for line in rest:
                program = program.replace(f"{line}\n", "")
    return program


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("streaming", "/report"),
        ("file", "/film"),
        ("sse_starlette", "/progress"),
        ("fastapi_sse", "/progress"),
    ],
)
@pytest.mark.usefixtures("sample_files")
def test_a_migrated_program_answers_as_before(name: str, path: str) -> None:
    program = (ROOT / "docs" / "examples" / f"migrate_{name}.py").read_text(encoding="utf-8")
    assert "streamkit" not in before(program)
    skip_without_what_it_needs(before(program))

    old = get(run_program(before(program), "before")["app"], path)
    new = get(run_program(program, "after")["app"], path)
    assert (new.status, new.headers["content-type"]) == (old.status, old.headers["content-type"])
    line_end = b"\r\n" if name == "sse_starlette" else b"\n"
    assert new.body == old.body.replace(line_end, b"\n") != b""
