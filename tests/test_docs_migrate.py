"""The page about other classes: each program answers as it did before the changes shown."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import anyio
import pytest

from streamkit import SSEStreamingResponse
from streamkit.declare import options_of
from streamkit.testing import stream
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


def test_what_the_table_names_is_an_option_of_event_streams() -> None:
    page = (ROOT / "docs" / "how-to" / "migrate.md").read_text(encoding="utf-8")
    _, table = page.split("| sse-starlette | streamkit |\n|---|---|\n")
    rows = [row.split("|")[2] for row in table.partition("\n\n")[0].splitlines()]
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert named >= {"keep_alive", "keep_alive_item"}
    assert named <= {*options_of(SSEStreamingResponse.options), "on_close"}


@pytest.mark.anyio
async def test_a_ping_message_factory_is_a_keep_alive_item() -> None:
    event = pytest.importorskip("sse_starlette").ServerSentEvent

    async def content() -> AsyncIterator[str]:
        yield "hello"
        await anyio.sleep_forever()

    response = SSEStreamingResponse(
        content(), keep_alive=0.01, keep_alive_item=lambda: event(event="ping", data="1")
    )
    async with stream(response) as client:
        assert await anext(client) == b"data: hello\n\n"
        assert await anext(client) == b"event: ping\r\ndata: 1\r\n\r\n"
