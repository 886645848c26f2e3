"""The examples of the how-tos about other libraries, jobs, logs, cameras and uploads."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import queue
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit import JSONLinesStreamingResponse
from streamkit.testing import FetchedResponse, check_source, fetch, stream
from tests.documentation import example, get, run_example, skip_without_what_it_needs
from tests.server import wait_for
from tests.upstream import OBJECT, object_store, servers_for

pytest.importorskip("fastapi")


@pytest.fixture
def app(request: pytest.FixtureRequest, sample_files: Path) -> Any:
    return run_example(request.param)["app"]


# code that writes to a file


@example("writes_a_file")
def test_other_libraries_read_back_what_was_written(app: Any) -> None:
    pandas = pytest.importorskip("pandas")
    image = pytest.importorskip("PIL.Image")
    sheets = pandas.read_excel(io.BytesIO(get(app, "/sales.xlsx").body), sheet_name=None)
    table = pandas.read_parquet(io.BytesIO(get(app, "/sales.parquet").body))
    lines = pandas.read_csv(io.BytesIO(get(app, "/sales.csv").body))

    assert list(sheets) == [f"2026-{month:02}" for month in range(1, 13)]
    assert list(sheets["2026-02"]["sold"]) == list(range(2, 30))
    assert len(table) == len(lines) == 12 * 28
    assert list(table["sold"]) == list(lines["sold"])
    assert get(app, "/sales.pdf").body.rstrip().endswith(b"%%EOF")
    with image.open(io.BytesIO(get(app, "/badge.png").body)) as badge:
        assert badge.size == (160, 40)
        badge.load()


@example("excel_rows")
def test_rows_become_a_workbook_and_a_client_that_leaves_is_no_failure(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    pandas = pytest.importorskip("pandas")

    table = pandas.read_excel(io.BytesIO(get(app, "/orders.xlsx").body))

    assert list(table.columns) == ["id", "customer", "total"]
    assert len(table) == 1000

    async def leave() -> None:
        async with stream(app, "/orders.xlsx") as client:
            await anext(client)
            await client.disconnect()
            await client.wait_closed()
            assert client.error is None

    anyio.run(leave)
    assert not caplog.records


# jobs


@example("progress")
def test_two_who_watch_a_job_see_its_end_and_one_who_leaves_does_not_stop_it(app: Any) -> None:
    async def main() -> list[bytes]:
        async with stream(app, "/jobs", method="POST") as starting:
            events = json.loads(await starting.read())["events"]
        async with stream(app, events) as first:
            await anext(first)
        return [(await fetch(app, events)).body]

    async def while_it_runs() -> list[bytes]:
        # The job runs in the background of its own request, which is open meanwhile.
        async with stream(app, "/jobs", method="POST") as starting:
            events = json.loads(await anext(starting))["events"]
            async with stream(app, events) as leaving:
                assert (await anext(leaving)).startswith(b"event: progress\ndata: ")
            bodies: list[bytes] = []

            async def watch() -> None:
                bodies.append((await fetch(app, events)).body)

            async with anyio.create_task_group() as group:
                group.start_soon(watch)
                group.start_soon(watch)
            return bodies

    late = anyio.run(main)
    assert late == [b'event: end\ndata: {"ok":true}\n\n']
    for body in anyio.run(while_it_runs):
        assert body.endswith(late[0])
        assert body.count(b"event: progress") > 1


def test_who_watches_a_job_that_fails_is_told() -> None:
    program = run_example("progress")

    class Failing(program["Job"]):  # type: ignore[misc]
        def advance(self) -> None:
            if self.done:
                raise RuntimeError("the disk is full")
            super().advance()

    async def main() -> bytes:
        job = program["jobs"]["failing"] = Failing(total=3)
        async with stream(program["app"], "/jobs/failing/events") as client:
            first = await anext(client)
            with pytest.raises(RuntimeError, match="the disk is full"):
                await job.run()
            with anyio.fail_after(10):
                return bytes(first + await client.read())

    events = anyio.run(main)
    assert events.startswith(b'event: progress\ndata: {"done":0,"total":3}\n\n')
    assert events.endswith(b'event: end\ndata: {"ok":false}\n\n')


def test_an_unknown_job_is_not_found() -> None:
    assert get(run_example("progress")["app"], "/jobs/none/events").status == 404


# logs


@example("tail_log")
@pytest.mark.parametrize("rotate", ["no", "renamed", "truncated"])
def test_new_lines_of_a_log_arrive_also_after_a_rotation(app: Any, rotate: str) -> None:
    log = Path("app.log")
    log.write_text("".join(f"old {number}\n" for number in range(20)))

    def append(text: str) -> None:
        with log.open("a") as file:
            file.write(text)

    async def main() -> bytes:
        received = b""
        async with stream(app, "/log?last=2") as client:
            while b"old 19\n" not in received:
                received += await anext(client)
            append("new ")
            await anyio.sleep(0.15)
            append("1\n")
            while b"new 1\n" not in received:
                received += await anext(client)
            if rotate == "renamed":
                os.rename("app.log", "app.log.1")
            if rotate == "truncated":
                os.truncate("app.log", 0)
            append("new 2\n")
            while b"new 2\n" not in received:
                received += await anext(client)
        return received

    assert anyio.run(main) == b"old 18\nold 19\nnew 1\nnew 2\n"


@example("tail_log")
@pytest.mark.parametrize("rotate", ["renamed", "truncated"])
def test_a_line_that_a_rotation_cut_is_a_line_of_its_own(app: Any, rotate: str) -> None:
    log = Path("app.log")
    log.write_text("old\nlonger than the other\ncut")

    async def main() -> bytes:
        received = b""
        async with stream(app, "/log?last=1") as client:
            while b"other\n" not in received:
                received += await anext(client)
            if rotate == "renamed":
                os.rename("app.log", "app.log.1")
            log.write_text("new\n")  # noqa: ASYNC240
            while b"new\n" not in received:
                received += await anext(client)
        return received

    assert anyio.run(main) == b"longer than the other\ncut\nnew\n"


@example("tail_log")
def test_no_line_of_a_log_is_asked_for(app: Any) -> None:
    log = Path("app.log")
    log.write_text("old\n")

    async def grow() -> None:
        while True:
            await anyio.sleep(0.05)
            with log.open("a") as file:  # noqa: ASYNC230
                file.write("new\n")

    async def main() -> bytes:
        async with (
            stream(app, "/log?last=0", wait_for_start=False) as client,
            anyio.create_task_group() as group,
        ):
            group.start_soon(grow)
            received = await anext(client)
            group.cancel_scope.cancel()
        return received

    assert anyio.run(main).startswith(b"new\n")


@example("tail_log")
def test_a_line_of_a_log_is_an_event(app: Any) -> None:
    Path("app.log").write_text("one\ntwo\n")

    async def main() -> bytes:
        async with stream(app, "/log/events") as client:
            received = b""
            while received.count(b"\n\n") < 2:
                received += await anext(client)
            return received

    assert anyio.run(main) == b"data: one\n\ndata: two\n\n"


# S3


@pytest.fixture(params=["boto3", "aiobotocore"])
def store_app(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with object_store(monkeypatch):
        yield run_example(f"{request.param}_source")


def ask(app: Any, path: str, method: str = "GET", **headers: str) -> FetchedResponse:
    async def main() -> FetchedResponse:
        async with app.router.lifespan_context(app):
            return await fetch(app, path, method=method, headers=headers)

    return anyio.run(main)


def test_an_object_of_s3_has_ranges_and_validators(store_app: dict[str, Any]) -> None:
    app = store_app["app"]
    whole, head = ask(app, "/files/1"), ask(app, "/files/1", "HEAD")
    part = ask(app, "/files/1", range="bytes=300000-699999")
    known = ask(app, "/files/1", **{"if-none-match": whole.headers["etag"]})

    assert (whole.status, whole.body) == (200, OBJECT)
    assert whole.headers["content-type"] == "audio/ogg"
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(OBJECT))
    assert (part.status, part.body) == (206, OBJECT[300_000:700_000])
    assert known.status == 304
    assert ask(app, "/files/none").status == 404


def test_the_boto3_source_keeps_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    with object_store(monkeypatch):
        make = run_example("boto3_source")["S3Object"]

        async def check() -> None:
            with anyio.fail_after(60):
                await check_source(lambda: make("files", "1"), OBJECT)

        anyio.run(check)


# cameras


def test_two_who_watch_a_camera_share_it_and_it_is_closed_after_them(
    sample_files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CAMERA", "film.mp4")
    program = run_example("camera_opencv")
    camera = program["camera"]

    async def main() -> None:
        async with stream(program["app"], "/camera") as client:
            chunk = await anext(client)
            assert b"image/jpeg" in chunk
            assert b"\xff\xd8\xff" in chunk + await anext(client)

    anyio.run(main)
    wait_for(lambda: not camera.watchers, "the end of all who watch")


@pytest.mark.parametrize("ends", [False, True], ids=["left", "ended"])
def test_a_camera_is_open_once_and_for_everybody_who_comes(
    ends: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    numpy = pytest.importorskip("numpy")
    program = run_example("camera_opencv")
    camera, cv2 = program["camera"], program["cv2"]
    black = numpy.zeros((8, 8, 3), numpy.uint8)
    pictures: queue.Queue[tuple[bool, Any]] = queue.Queue()
    devices: list[Any] = []

    class Device:
        def __init__(self, source: object) -> None:
            devices.append(self)

        def read(self) -> tuple[bool, Any]:
            return pictures.get()

        def release(self) -> None:
            devices.append("released")

    monkeypatch.setattr(cv2, "VideoCapture", Device)
    first, second, seen = camera.frames(), camera.frames(), []
    pictures.put((True, black))
    assert next(first)
    if ends:
        pictures.put((False, None))
        wait_for(lambda: "released" in devices, "the end of the film")
    else:
        first.close()
    # It comes while the thread waits for a picture, or when it has ended and one is still there.
    coming = threading.Thread(target=lambda: seen.append(next(second)), daemon=True)
    coming.start()
    wait_for(lambda: camera.watchers == (2 if ends else 1), "the second")
    pictures.put((True, black))
    wait_for(lambda: bool(seen), "a picture")
    second.close()
    first.close()
    pictures.put((True, black))
    wait_for(lambda: devices[-1] == "released", "the end")

    assert len(devices) == (4 if ends else 2)
    assert pictures.empty()


def test_ffmpeg_sends_pictures_of_a_camera(sample_files: Path) -> None:
    app = run_example("camera_ffmpeg")["app"]

    async def main() -> bytes:
        async with stream(app, "/camera") as client:
            assert client.headers["content-type"] == "multipart/x-mixed-replace; boundary=frame"
            received = b""
            while received.count(b"--frame") < 3:
                received += await anext(client)
            return received

    assert b"Content-type: image/jpeg" in anyio.run(main)


# HEAD


@example("head")
def test_head_has_the_headers_and_no_body_also_of_content_without_an_end(app: Any) -> None:
    film, rows = ask(app, "/film.mp4", "HEAD"), ask(app, "/rows.csv", "HEAD")

    assert (film.status, film.body) == (200, b"")
    assert film.headers["content-length"] == str(os.path.getsize("film.mp4"))
    assert (rows.status, rows.body) == (200, b"")
    assert rows.headers["content-type"] == "text/csv; charset=utf-8"


# databases


@example("sqlalchemy_rows")
def test_rows_of_sqlalchemy_are_exported_in_both_formats(app: Any) -> None:
    table = list(csv.reader(io.StringIO(ask(app, "/orders.csv").body.decode())))
    lines = [json.loads(line) for line in ask(app, "/orders.jsonl").body.splitlines()]

    assert table[:2] == [["id", "customer", "total"], ["1", "customer 0", "0.0"]]
    assert len(table) == 5001
    assert lines[-1] == {"id": 5000, "customer": "customer 1", "total": 49.99}


@example("sqlalchemy_sync")
def test_rows_of_sqlalchemys_sync_engine_are_exported(app: Any) -> None:
    assert get(app, "/orders.csv").body.decode() == 'id,customer,total\r\n1,"Öl, AG",2.5\r\n'


@pytest.mark.parametrize("driver", ["asyncpg", "psycopg"])
def test_rows_of_postgresql_are_exported_and_a_client_that_leaves_ends_the_query(
    driver: str,
) -> None:
    program = Path(__file__).parents[1] / "docs" / "examples" / f"{driver}_rows.py"
    skip_without_what_it_needs(program.read_text(encoding="utf-8"))
    with servers_for(program.read_text(encoding="utf-8")):
        app = run_example(f"{driver}_rows")["app"]
        first = b"id,customer,total\r\n1,customer 1,0.01\r\n"
        paths = {"/orders.csv": first}
        if driver == "psycopg":
            paths["/orders.jsonl"] = b'{"id":1,"customer":"customer 1","total":0.01}\n'

        async def main() -> None:
            async with app.router.lifespan_context(app):
                for path, begin in paths.items():
                    whole = await fetch(app, path)
                    assert whole.body.startswith(begin)
                    assert b"20000" in whole.body.splitlines()[-1]
                    async with stream(app, path) as leaving:
                        await anext(leaving)
                        await leaving.disconnect()
                        with anyio.fail_after(10):
                            await leaving.wait_closed()

        anyio.run(main)


@example("session_depends")
def test_a_session_of_depends_is_open_until_the_last_row_was_sent(
    app: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert get(app, "/orders.csv").body.decode() == 'id,customer,total\r\n1,"Öl, AG",2.5\r\n'

    assert capsys.readouterr().out.splitlines() == [
        "the session is open",
        "all rows are sent",
        "the session is closed",
    ]


# status and headers


@example("response_start")
def test_the_count_of_rows_is_in_the_headers_and_no_rows_are_a_204(app: Any) -> None:
    full = get(app, "/orders.csv")
    with sqlite3.connect("shop.db") as shop:
        shop.execute("DELETE FROM orders")
    shop.close()
    empty = get(app, "/orders.csv")

    assert (full.status, full.headers["x-total-count"]) == (200, "1")
    assert full.headers["content-disposition"] == 'attachment; filename="orders-1.csv"'
    assert full.body.decode() == 'id,customer,total\r\n1,"Öl, AG",2.5\r\n'
    assert (empty.status, empty.body) == (204, b"")


# uploads


def post(app: Any, path: str, body: bytes | list[bytes]) -> FetchedResponse:
    async def main() -> FetchedResponse:
        return await fetch(app, path, method="POST", body=body)

    return anyio.run(main)


@example("uploads")
def test_an_upload_is_stored_by_its_content(app: Any) -> None:
    digest = hashlib.sha256(OBJECT).hexdigest()
    response = post(app, "/files", OBJECT)

    assert json.loads(response.body) == {"size": len(OBJECT), "sha256": digest}
    assert [path.name for path in Path("uploads").iterdir()] == [digest]
    assert (Path("uploads") / digest).read_bytes() == OBJECT


@example("uploads")
def test_an_upload_comes_back_compressed(app: Any) -> None:
    assert gzip.decompress(post(app, "/gzip", OBJECT).body) == OBJECT


@example("uploads")
def test_each_line_of_an_upload_is_answered(app: Any) -> None:
    response = post(app, "/lines", "one\nzwölf\n".encode())

    assert response.body == b'{"line":1,"ok":true}\n{"line":2,"ok":false}\n'


# fields that clients must not see


@example("public_fields")
def test_an_item_is_reduced_to_what_clients_may_see(app: Any) -> None:
    assert get(app, "/users").body == b'{"name":"Rick"}\n{"name":"Morty"}\n'

    # FastAPI's own ways have no effect, as the page says.
    users = next(route.endpoint for route in app.routes if route.path == "/users")
    excluded: Any = {"response_model_exclude": {"password_hash"}}
    app.get("/all", response_class=JSONLinesStreamingResponse, **excluded)(users)
    assert b"s3cr3t" in get(app, "/all").body
