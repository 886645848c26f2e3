"""The documentation's programs run, and say the truth."""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import shutil
import sqlite3
import subprocess
import sys
import tomllib
import types
import zipfile
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

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
ARGUMENTS = {"name": "readme.txt", "day": "monday"}
NOT_FOUND = (
    "none . ../secret.txt %2e%2e/secret.txt link.txt %00 /etc/passwd ../downloads-2/secret.txt"
)
PDF = bytes(range(256)) * 4000
FILM = (Path(streamkit.__file__).parent / "demo" / "film.mp4").read_bytes()
# The site's own configuration: its pages in their order.
SITE = tomllib.loads((ROOT / ".zensical.toml").read_text(encoding="utf-8"))["project"]


def blocks() -> Iterator[Any]:
    seen = set()
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if found[1] in seen:
                continue
            seen.add(found[1])
            line = text.count("\n", 0, found.start()) + 2
            where = f"{page.relative_to(ROOT)}:{line}"
            # With its line numbers, so that a traceback points into the page.
            yield pytest.param("\n" * (line - 1) + found[1], str(page), id=where)


@pytest.fixture
def sample_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the programs expect to find in the directory they run in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.mp4").write_bytes(FILM)
    for name in ("logo.png", "rows.csv", "downloads/readme.txt", "secret.txt"):
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

    found = app.openapi()["paths"].items()
    return [re.sub(r"{(\w+)(?::\w+)?}", argument, path) for path, ways in found if "get" in ways]


async def look_at(app: Any, path: str) -> None:
    """Read a response; leave one that goes on and on."""
    async with app.router.lifespan_context(app), stream(app, path) as client:
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


def skip_without_what_it_needs(source: str) -> None:
    if "ffmpeg" in source and not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    # The last is younger than the lowest FastAPI that will do.
    for name in ("openai", "sse_starlette", "fastapi.sse", "prometheus_client", "opentelemetry"):
        if name in source:
            pytest.importorskip(name)


@pytest.mark.parametrize(("source", "page"), list(blocks()))
@pytest.mark.usefixtures("sample_files")
def test_a_program_in_the_documentation_runs(source: str, page: str) -> None:
    skip_without_what_it_needs(source)
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
    names += [
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

    assert (film.status, film.body) == (206, FILM[:7])
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


@example("shut_down")
def test_streams_are_told_of_a_shutdown(app: Any) -> None:
    async def main(path: str) -> bytes:
        async with app.router.lifespan_context(app), stream(app, path) as client:
            await anext(client)
            app.state.shutdown.request()
            body = await client.read()
        assert client.complete
        return body

    assert anyio.run(main, "/clock").endswith(
        b"event: bye\nretry: 1000\ndata: back in a moment\n\n"
    )
    assert anyio.run(main, "/lines").endswith(b"that was the last one\n")


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


@example("tutorial_files")
def test_the_tutorials_wave_is_drawn_and_its_numbers_have_ranges(app: Any) -> None:
    wave = get(app, "/wave.svg")
    part = get(app, "/numbers.txt", range="bytes=700-713")
    again = get(app, "/numbers.txt", **{"if-none-match": part.headers["etag"]})

    assert wave.headers["content-type"] == "image/svg+xml"
    assert ElementTree.fromstring(wave.body).tag == "{http://www.w3.org/2000/svg}svg"
    assert (part.status, part.body) == (206, b"000100\n000101\n")
    assert again.status == 304


@example("tutorial_data")
def test_the_tutorials_items_are_lines_and_events(app: Any) -> None:
    async def first(path: str) -> bytes:
        async with stream(app, path) as client:
            return await anext(client)

    assert anyio.run(first, "/readings.jsonl") == b'{"second":0,"celsius":20.0}\n'
    assert anyio.run(first, "/readings") == b'data: {"second":0,"celsius":20.0}\n\n'


@example("tutorial_errors")
def test_the_tutorials_errors_are_a_status_and_a_cut(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    monday, sunday = get(app, "/orders/monday"), get(app, "/orders/sunday")
    wednesday = get(app, "/orders/wednesday")

    assert (monday.status, monday.complete, monday.body.count(b"\n")) == (200, True, 3)
    assert (sunday.status, json.loads(sunday.body)) == (404, {"detail": "no orders for sunday"})
    assert (wednesday.status, wednesday.complete) == (200, False)
    assert wednesday.body.count(b"\n") == 2
    page = (ROOT / "docs" / "tutorial" / "errors.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out in page


@example("serve_video")
def test_a_video_can_be_played_from_any_minute(app: Any) -> None:
    part = get(app, "/film.mp4", range="bytes=1000-1999")
    known = get(app, "/film.mp4", **{"if-none-match": part.headers["etag"]})

    assert (part.status, part.body) == (206, FILM[1000:2000])
    assert part.headers["content-type"] == "video/mp4"
    assert part.headers["cache-control"] == "private, max-age=3600"
    assert (known.status, known.body) == (304, b"")
    assert b'src="/film.mp4"' in get(app, "/").body


@pytest.fixture
def transcode(sample_files: Path) -> dict[str, Any]:
    if not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    return run_example("transcode")


def test_a_preview_can_be_played_as_it_comes(transcode: dict[str, Any]) -> None:
    preview = get(transcode["app"], "/preview.mp4")

    assert preview.complete
    # The index is there, and stands before the pictures.
    assert 0 < preview.body.index(b"moov") < preview.body.index(b"moof")


def test_ffmpeg_ends_when_the_client_leaves(
    transcode: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    class Noted(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Noted)
    endless = transcode["COMMAND"].replace("-i film.mp4 -t 5", "-stream_loop -1 -i film.mp4")
    monkeypatch.setitem(transcode["preview"].__globals__, "COMMAND", endless)
    anyio.run(look_at, transcode["app"], "/preview.mp4")

    assert [process.returncode for process in started] == [-9]


def test_a_failure_of_ffmpeg_is_a_status(transcode: dict[str, Any]) -> None:
    os.unlink("film.mp4")

    assert get(transcode["app"], "/preview.mp4").status == 500


COMPLETION: Any = {
    "method": "POST",
    "headers": {"content-type": "application/json"},
    "body": b'{"model":"tiny","stream":true,"messages":[{"role":"user","content":"Hi"}]}',
}


@example("llm_tokens")
def test_tokens_are_chunks_of_a_completion(app: Any) -> None:
    response = anyio.run(lambda: fetch(app, "/v1/chat/completions", **COMPLETION))

    *events, done, end = response.body.decode().split("\n\n")
    chunks = [json.loads(event.removeprefix("data: ")) for event in events]
    assert (done, end) == ("data: [DONE]", "")
    assert [chunk["choices"][0]["delta"] for chunk in chunks] == [
        {"role": "assistant", "content": "Hello"},
        {"content": ",\n"},
        {"content": "world"},
        {},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


def test_a_model_is_stopped_when_its_client_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    program = run_example("llm_tokens")
    stopped = []

    async def endless(messages: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "again "
                await anyio.sleep(0.01)
        finally:
            stopped.append(messages[0].content)

    async def leave() -> None:
        async with stream(program["app"], "/v1/chat/completions", **COMPLETION) as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()

    monkeypatch.setitem(program["events"].__globals__, "generate", endless)
    anyio.run(leave)
    assert stopped == ["Hi"]


@example("export_rows")
def test_rows_of_a_cursor_are_exported_in_both_formats(app: Any) -> None:
    with closing(sqlite3.connect("shop.db")) as shop, shop:
        rows = [(number, "Öl, AG", number / 4) for number in range(2, 5001)]
        shop.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    table, lines = get(app, "/orders.csv"), get(app, "/orders.jsonl")

    assert table.headers["content-disposition"] == 'attachment; filename="orders.csv"'
    assert table.body.decode().startswith('id,customer,total\r\n1,"Öl, AG",2.5\r\n')
    assert table.body.count(b"\n") == 5001
    assert [json.loads(line)["id"] for line in lines.body.splitlines()] == list(range(1, 5001))


def test_an_object_of_sqlite_says_what_the_page_says(sample_files: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "sqlite.md").read_text(encoding="utf-8")
    with closing(sqlite3.connect("shop.db")) as shop, ThreadPoolExecutor(1) as pool:
        error = pool.submit(shop.execute, "SELECT 1").exception()

    assert isinstance(error, sqlite3.ProgrammingError)
    assert f"sqlite3.ProgrammingError: {str(error).partition('.')[0]}." in page


@example("subscription")
def test_a_subscription_ends_with_its_client(app: Any) -> None:
    async def listeners() -> list[int]:
        async with stream(app, "/events") as first, stream(app, "/events") as second:
            seen = [json.loads((await anext(c)).removeprefix(b"data: ")) for c in (first, second)]
        async with stream(app, "/events") as third:
            seen.append(json.loads((await anext(third)).removeprefix(b"data: ")))
        return [each["listeners"] for each in seen]

    assert anyio.run(listeners) == [1, 2, 1]


# what the page about other classes says of them


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

    old = get(run_block(before(program), "before")["app"], path)
    new = get(run_block(program, "after")["app"], path)
    assert (new.status, new.headers["content-type"]) == (old.status, old.headers["content-type"])
    line_end = b"\r\n" if name == "sse_starlette" else b"\n"
    assert new.body == old.body.replace(line_end, b"\n") != b""
