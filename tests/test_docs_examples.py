"""The programs of docs/examples do what their pages say."""

from __future__ import annotations

import io
import json
import os
import shutil
import sqlite3
import subprocess
import threading
import zipfile
import zlib
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import anyio
import pytest

from streamkit.testing import check_encoder, check_source, fetch, stream
from tests.documentation import (
    FILM,
    PDF,
    ROOT,
    example,
    get,
    read_until_enough,
    run_example,
)

pytest.importorskip("fastapi")

NOT_FOUND = (
    "none . ../secret.txt %2e%2e/secret.txt link.txt %00 /etc/passwd ../downloads-2/secret.txt"
)


@pytest.fixture
def app(request: pytest.FixtureRequest, sample_files: Path) -> Any:
    return run_example(request.param)["app"]


@example("first")
def test_first_is_closed_when_the_client_leaves(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    anyio.run(read_until_enough, app, "/count")

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
    anyio.run(read_until_enough, transcode["app"], "/preview.mp4")

    assert [process.returncode for process in started] == [-9]


@pytest.mark.parametrize(
    ("name", "path"), [("transcode", "/preview.mp4"), ("camera_ffmpeg", "/camera")]
)
def test_ffmpeg_ends_also_while_it_is_silent(
    name: str, path: str, sample_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = run_example(name)
    # It stands in for ffmpeg: some bytes, and then nothing any more.
    silent = subprocess.Popen(["tail", "-c", "100", "-f", "film.mp4"], stdout=subprocess.PIPE)
    monkeypatch.setattr(program["subprocess"], "Popen", lambda *args, **kwargs: silent)

    # If nobody else ends it.
    rescue = threading.Timer(60, silent.terminate)
    rescue.start()

    async def main() -> None:
        async with stream(program["app"], path, shutdown_timeout=120) as client:
            await anext(client)
            await anyio.sleep(0.1)  # until it is waited for

    try:
        anyio.run(main)
        assert silent.returncode == -9
    finally:
        rescue.cancel()
        silent.kill()
        silent.wait()


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


@example("llm_tokens")
def test_the_usage_of_a_completion_is_the_chunk_before_the_end(app: Any) -> None:
    asked = json.loads(COMPLETION["body"]) | {"stream_options": {"include_usage": True}}
    request = COMPLETION | {"body": json.dumps(asked).encode()}
    response = anyio.run(lambda: fetch(app, "/v1/chat/completions", **request))

    *_, last, done, _ = response.body.decode().split("\n\n")
    assert done == "data: [DONE]"
    chunk = json.loads(last.removeprefix("data: "))
    assert chunk["choices"] == []
    assert chunk["usage"] == {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}


CHAT: Any = {
    "method": "POST",
    "headers": {"content-type": "application/json"},
    "body": b'{"messages":[]}',
}


def parts(body: bytes) -> list[Any]:
    events = [event.removeprefix("data: ") for event in body.decode().split("\n\n")]
    return [json.loads(event) if event != "[DONE]" else event for event in events if event]


@example("ui_messages")
def test_a_ui_message_has_its_parts_in_order(app: Any) -> None:
    response = anyio.run(lambda: fetch(app, "/api/chat", **CHAT))
    start, text, *deltas, end, finish, done = parts(response.body)

    assert response.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert (start["type"], text["type"], end["type"]) == ("start", "text-start", "text-end")
    assert {part["id"] for part in (text, *deltas, end)} == {text["id"]}
    assert "".join(part["delta"] for part in deltas) == "Hello,\nworld"
    assert (finish, done) == ({"type": "finish"}, "[DONE]")


@pytest.mark.parametrize("begun", [False, True])
def test_a_ui_message_that_fails_is_a_status_or_a_part(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    program = run_example("ui_messages")

    async def fail(messages: Any) -> AsyncIterator[str]:
        if begun:
            yield "Hello"
        raise ConnectionError

    monkeypatch.setitem(program["parts"].__globals__, "generate", fail)
    response = anyio.run(lambda: fetch(program["app"], "/api/chat", **CHAT))

    if begun:
        assert parts(response.body)[-2:] == [
            {"type": "error", "errorText": "the model has gone"},
            "[DONE]",
        ]
    else:
        assert response.status == 500


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
