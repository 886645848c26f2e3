"""The documentation's programs run, and say the truth."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import sqlite3
import sys
import types
import zipfile
import zlib
from collections.abc import Callable, Iterator
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import anyio
import pytest

import streamkit
from streamkit.responses import ResponseOptions
from streamkit.testing import FetchedResponse, check_encoder, check_source, fetch, stream

fastapi = pytest.importorskip("fastapi")

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
# Seconds and bytes after which a client leaves a stream that has no end.
LEAVE_AFTER, ENOUGH = 0.3, 1_000_000
ARGUMENTS = {"name": "readme.txt"}
NOT_FOUND = (
    "none . ../secret.txt %2e%2e/secret.txt link.txt %00 /etc/passwd ../downloads-2/secret.txt"
)
PDF = bytes(range(256)) * 4000


def blocks() -> Iterator[Any]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, found.start()) + 2
            where = f"{page.relative_to(ROOT)}:{line}"
            # With its line numbers, so that a traceback points into the page.
            yield pytest.param("\n" * (line - 1) + found[1], str(page), id=where)


@pytest.fixture
def sample_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the programs expect to find in the directory they run in."""
    monkeypatch.chdir(tmp_path)
    for name in ("logo.png", "film.mp4", "rows.csv", "downloads/readme.txt", "secret.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(f"this is {name}\n".encode() * 10)
    with sqlite3.connect("reports.db") as reports:
        reports.execute("CREATE TABLE reports (body BLOB)")
        reports.execute("INSERT INTO reports VALUES (?)", (PDF,))
    with sqlite3.connect("shop.db") as shop:
        shop.execute("CREATE TABLE orders (id, customer, total)")
        shop.execute("INSERT INTO orders VALUES (1, 'Öl, AG', 2.5)")
    for connection in (reports, shop):
        connection.close()
    return tmp_path


def run_block(source: str, page: str) -> dict[str, Any]:
    module = types.ModuleType("docs_block")
    # Pydantic resolves annotations by way of the module.
    sys.modules[module.__name__] = module
    exec(compile(source, page, "exec"), module.__dict__)
    return module.__dict__


def paths(app: Any) -> list[str]:
    def argument(found: re.Match[str]) -> str:
        return ARGUMENTS.get(found[1], "1")

    return [re.sub(r"{(\w+)(?::\w+)?}", argument, path) for path in app.openapi()["paths"]]


async def look_at(app: Any, path: str) -> None:
    """Read a response; leave one that goes on and on."""
    async with stream(app, path) as client:
        assert client.status == 200
        with anyio.move_on_after(LEAVE_AFTER):
            async for _ in client:
                if client.bytes_received > ENOUGH:
                    break
        assert client.error is None
        assert client.bytes_received
        await client.disconnect()
        with anyio.fail_after(10):
            await client.wait_closed()


@pytest.mark.parametrize(("source", "page"), list(blocks()))
@pytest.mark.usefixtures("sample_files")
def test_a_program_in_the_documentation_runs(source: str, page: str) -> None:
    program = run_block(source, page)

    tests = [value for name, value in program.items() if name.startswith("test_")]
    for test in tests:
        anyio.run(test) if iscoroutinefunction(test) else test()
    if not tests and "app" in program:
        for path in paths(program["app"]):
            anyio.run(look_at, program["app"], path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_stands_word_for_word_in_a_page(example: Path) -> None:
    program = f"```python\n{example.read_text(encoding='utf-8')}```\n"

    assert any(program in page.read_text(encoding="utf-8") for page in PAGES)


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


def test_the_readme_names_every_option_with_its_default() -> None:
    table = dict(re.findall(r"^\| (`.*?) \| (.*?) \|", readme(), re.MULTILINE))
    rows = [
        (re.findall(r"`(\w+)`", names), default)
        for names, default in table.items()
        if hasattr(streamkit.StreamingResponse, names.strip("`").split("`")[0])
    ]
    documented = {name for names, _ in rows for name in names}

    assert documented == set(ResponseOptions.__annotations__) | {"media_type", "on_close"}
    for names, default in rows:
        for name in names:
            value = getattr(streamkit.StreamingResponse, name)
            assert name == "encoder" or repr(value).replace("'", '"') in default, name


def test_the_readme_names_every_typed_class() -> None:
    suffix = "StreamingResponse"
    typed = {name.removesuffix(suffix) for name in streamkit.__all__ if name.endswith(suffix)}

    for name in typed - {""}:
        assert re.search(rf"`{name}`|{name}{suffix}", readme()), name


def readme() -> str:
    return PAGES[0].read_text(encoding="utf-8")


# what each example is there to show


def run_example(name: str) -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "examples" / f"{name}.py"))


@pytest.fixture
def app(request: pytest.FixtureRequest, sample_files: Path) -> Any:
    return run_example(request.param)["app"]


def example(name: str) -> Callable[[Any], Any]:
    """The app of a file in docs/examples."""
    return pytest.mark.parametrize("app", [name], indirect=True, ids=[name])


def get(app: Any, path: str, **headers: str) -> FetchedResponse:
    async def response() -> FetchedResponse:
        return await fetch(app, path, headers=headers)

    return anyio.run(response)


@example("first")
def test_first_is_closed_when_the_client_leaves(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    anyio.run(look_at, app, "/count")

    assert capsys.readouterr().out == "the client left, and this ran\n"


@example("json_text_sequences")
def test_json_text_sequences_are_those_of_the_rfc(app: Any) -> None:
    response = get(app, "/readings")

    assert response.headers["content-type"] == "application/json-seq"
    assert response.body == (
        b'\x1e{"sensor":"roof","value":0.0}\n'
        b'\x1e{"sensor":"roof","value":0.25}\n'
        b'\x1e{"sensor":"roof","value":0.5}\n'
    )


def test_the_encoder_of_json_text_sequences_keeps_the_contract() -> None:
    def read(body: bytes) -> Iterator[object]:
        return map(json.loads, filter(None, body.split(b"\x1e")))

    make = run_example("json_text_sequences")["JSONSequenceEncoder"]
    check_encoder(make, [{"value": 1}, [None, "\x1e"]], read=read)


@pytest.mark.usefixtures("sample_files")
def test_the_blob_source_keeps_the_contract() -> None:
    make = run_example("blob_source")["Blob"]

    async def check() -> None:
        with anyio.fail_after(30):
            await check_source(lambda: make("reports.db", 1), PDF)

    anyio.run(check)


@example("blob_source")
def test_a_blob_is_read_from_the_middle(app: Any) -> None:
    whole = get(app, "/reports/1")
    part = get(app, "/reports/1", range="bytes=255-300000")
    known = get(app, "/reports/1", **{"if-none-match": '"1"'})

    assert (whole.status, whole.body) == (200, PDF)
    assert (part.status, part.body) == (206, PDF[255:300001])
    assert (known.status, known.body) == (304, b"")
    assert get(app, "/reports/2").status == 404


@example("files")
def test_files_have_ranges_and_names(app: Any) -> None:
    film = get(app, "/film", range="bytes=0-6")
    download = get(app, "/downloads/readme.txt")

    assert (film.status, film.body) == (206, b"this is")
    assert film.headers["content-type"] == "video/mp4"
    assert download.headers["content-disposition"] == 'attachment; filename="readme.txt"'


@example("files")
@pytest.mark.parametrize("name", ["", "x" * 300, *NOT_FOUND.split()])
def test_what_is_not_a_file_below_the_folder_is_not_found(app: Any, name: str) -> None:
    os.symlink(os.path.abspath("secret.txt"), "downloads/link.txt")
    os.mkdir("downloads-2")
    Path("downloads-2/x").write_text("secret")

    assert get(app, f"/downloads/{name}").status == 404


@example("files")
def test_a_missing_file_is_not_found(app: Any) -> None:
    os.unlink("film.mp4")

    assert get(app, "/film").status == 404


@example("sqlite_rows")
def test_sqlite_rows_keep_their_thread(app: Any) -> None:
    async def eight_at_once() -> None:
        async with anyio.create_task_group() as group:
            for _ in range(8):
                group.start_soon(check)

    async def check() -> None:
        response = await fetch(app, "/orders.csv")
        assert response.body.decode() == 'id,customer,total\r\n1,"Öl, AG",2.5\r\n'

    anyio.run(eight_at_once)


@example("zip_writes")
def test_a_zip_is_written_while_it_is_sent(app: Any) -> None:
    with zipfile.ZipFile(io.BytesIO(get(app, "/export.zip").body)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == 12


@example("from_thread")
def test_a_sync_generator_reads_an_async_one(app: Any) -> None:
    text = zlib.decompress(get(app, "/measurements.csv.gz").body, wbits=31)

    assert text.count(b"\n") == 200
