"""Objects in stores: in memory, on disk, behind a real S3 API, and on a server of few words."""

from __future__ import annotations

import email
import re
import runpy
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest

from streamkit import StreamingResponse
from streamkit.errors import SourceError
from streamkit.objectstore import ObjectStoreSource
from streamkit.outcome import StreamOutcome
from streamkit.testing import FetchedResponse, check_source, fetch, stream
from tests.s3 import S3, serving_s3

obstore = pytest.importorskip("obstore", reason="obstore is not installed")
from obstore.store import LocalStore, MemoryStore, S3Store  # noqa: E402

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "how-to" / "stream-from-an-object-store.md"
# A few chunks, of which no two are alike.
DATA = b"".join(number.to_bytes(4, "big") for number in range(300_000))
SIZE = len(DATA)
# A name with all that a URL would have to escape.
NAME = "films/ü #1 100%.mp4"
OLD = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[S3]:
    with serving_s3() as s3:
        yield s3


@pytest.fixture
def s3(s3_server: S3) -> S3:
    obstore.put(s3_server.store(), NAME, DATA)
    s3_server.log.clear()
    return s3_server


@pytest.fixture(params=["memory", "local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Each kind of store, with DATA at NAME."""
    if request.param == "s3":
        return request.getfixturevalue("s3").store()
    store = MemoryStore() if request.param == "memory" else LocalStore(tmp_path)
    obstore.put(store, NAME, DATA)
    return store


async def get(store: Any, method: str = "GET", **headers: str) -> FetchedResponse:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    response = StreamingResponse(ObjectStoreSource(store, NAME))
    return await fetch(response, method=method, headers=fields)


def entity_tag(store: Any) -> str:
    # Some releases of obstore give the tags of local objects without their quotes.
    return '"' + obstore.head(store, NAME)["e_tag"].strip('"') + '"'


# what a response gives


async def test_an_object_is_sent_whole_with_what_the_store_knows_of_it(store: Any) -> None:
    modified = obstore.head(store, NAME)["last_modified"]

    response = await get(store)

    assert (response.status, response.complete, response.error) == (200, True, None)
    assert response.body == DATA
    assert response.headers["content-length"] == str(SIZE)
    assert response.headers["accept-ranges"] == "bytes"
    assert response.headers["etag"] == entity_tag(store)
    expected = modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert response.headers["last-modified"] == expected


@pytest.mark.parametrize(
    ("header", "start", "end"),
    [
        ("bytes=100-299999", 100, 300_000),
        (f"bytes={SIZE - 5}-", SIZE - 5, SIZE),
        ("bytes=-7", SIZE - 7, SIZE),
        (f"bytes=10-{SIZE * 2}", 10, SIZE),
    ],
)
async def test_a_range_is_the_slice(store: Any, header: str, start: int, end: int) -> None:
    response = await get(store, range=header)

    assert (response.status, response.complete) == (206, True)
    assert response.body == DATA[start:end]
    assert response.headers["content-range"] == f"bytes {start}-{end - 1}/{SIZE}"


async def test_several_ranges_are_parts(store: Any) -> None:
    response = await get(store, range="bytes=0-4,500000-799999,-3")

    assert (response.status, response.complete) == (206, True)
    head = f"Content-Type: {response.headers['content-type']}\r\n".encode()
    parts = email.message_from_bytes(head + b"\r\n" + response.body).get_payload()
    assert isinstance(parts, list)
    assert [part.get_payload(decode=True) for part in parts if not isinstance(part, str)] == [
        DATA[:5],
        DATA[500_000:800_000],
        DATA[-3:],
    ]


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("HEAD", {}, 200),
        ("GET", {"if_none_match": "{etag}"}, 304),
        ("GET", {"if_none_match": '"x", W/{etag}'}, 304),
        ("GET", {"if_match": '"another"'}, 412),
        ("GET", {"if_unmodified_since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412),
        ("GET", {"range": f"bytes={SIZE}-"}, 416),
    ],
)
async def test_an_answer_without_content_never_reads(
    store: Any, method: str, headers: dict[str, str], status: int
) -> None:
    etag = entity_tag(store)
    fields = {name.replace("_", "-"): value.format(etag=etag) for name, value in headers.items()}
    response = StreamingResponse(Unread(store, NAME))

    answer = await fetch(response, method=method, headers=fields)

    assert (answer.status, answer.body, answer.error) == (status, b"", None)
    assert answer.headers.get("content-length") == {200: str(SIZE), 304: None}.get(status, "0")


class Unread(ObjectStoreSource):
    def read(self, start: int, end: int | None) -> Any:
        raise AssertionError("this was not to be read")


@pytest.mark.parametrize(("validator", "status"), [("{etag}", 206), ('"another"', 200)])
async def test_a_download_is_resumed_if_the_object_is_the_same(
    store: Any, validator: str, status: int
) -> None:
    etag = entity_tag(store)

    response = await get(store, range="bytes=1000000-", if_range=validator.format(etag=etag))

    assert response.status == status
    assert response.body == (DATA[1_000_000:] if status == 206 else DATA)


async def test_an_empty_object_is_not_read(store: Any) -> None:
    obstore.put(store, NAME, b"")

    response = await fetch(StreamingResponse(Unread(store, NAME)))

    assert (response.status, response.body, response.complete) == (200, b"", True)
    assert response.headers["content-length"] == "0"


async def test_what_is_given_goes_before_what_the_store_says(store: Any) -> None:
    source = ObjectStoreSource(store, NAME, etag='"v7"', last_modified=OLD, media_type="video/webm")

    response = await fetch(StreamingResponse(source), headers={"range": "bytes=0-3"})

    assert (response.status, response.body) == (206, DATA[:4])
    assert response.headers["etag"] == '"v7"'
    assert response.headers["last-modified"] == "Sat, 03 Feb 2001 04:05:06 GMT"
    assert response.headers["content-type"] == "video/webm"


ATTRIBUTES = {
    "Content-Type": "text/css",
    "Cache-Control": "max-age=60",
    "Content-Disposition": 'attachment; filename="film.css"',
    "Content-Encoding": "gzip",
    "Content-Language": "en",
}


@pytest.fixture(params=["memory", "s3"])
def described(request: pytest.FixtureRequest) -> Any:
    """Each kind of store that keeps headers, with an object that has them all."""
    store = MemoryStore() if request.param == "memory" else request.getfixturevalue("s3").store()
    obstore.put(store, NAME, DATA, attributes=ATTRIBUTES | {"colour": "red"})
    return store


@pytest.mark.parametrize(
    ("asked", "status", "kept"),
    [
        pytest.param({}, 200, set(ATTRIBUTES), id="whole"),
        pytest.param({"range": "bytes=0-3"}, 206, set(ATTRIBUTES), id="a range"),
        pytest.param({"if_none_match": "*"}, 304, {"Cache-Control"}, id="not modified"),
    ],
)
async def test_what_is_stored_with_an_object_is_sent_with_it(
    described: Any, asked: dict[str, str], status: int, kept: set[str]
) -> None:
    response = await get(described, **asked)

    assert response.status == status
    sent = {name: response.headers.get(name.lower()) for name in ATTRIBUTES}
    assert sent == {name: value if name in kept else None for name, value in ATTRIBUTES.items()}
    assert "colour" not in response.headers


async def test_headers_of_the_response_go_before_those_that_are_stored(described: Any) -> None:
    response = StreamingResponse(
        ObjectStoreSource(described, NAME),
        media_type="text/plain",
        filename="other.txt",
        headers={"Cache-Control": "no-store"},
    )

    answer = await fetch(response)

    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["content-disposition"] == 'attachment; filename="other.txt"'
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-encoding"] == "gzip"


@pytest.mark.parametrize(
    ("name", "stored", "sent"),
    [
        pytest.param("Content-Encoding", "gzip, aws-chunked", "gzip", id="of the upload, after"),
        pytest.param("Content-Encoding", "aws-chunked", None, id="of the upload alone"),
        pytest.param("Content-Disposition", "inline; filename=\u65e5", None, id="beyond a header"),
        pytest.param("Content-Type", "text/css\nX: y", None, id="more than one line"),
        pytest.param("Cache-Control", "", None, id="nothing"),
    ],
)
async def test_what_no_header_can_carry_is_left_out(
    name: str, stored: str, sent: str | None
) -> None:
    store = MemoryStore()
    obstore.put(store, NAME, DATA, attributes={name: stored})

    response = await get(store)

    assert (response.status, response.body) == (200, DATA)
    assert response.headers.get(name.lower()) == sent


async def test_validators_of_an_object_can_be_switched_off(store: Any) -> None:
    source = ObjectStoreSource(store, NAME, etag=False, last_modified=False)

    response = await fetch(StreamingResponse(source))

    assert not {"etag", "last-modified"} & {*response.headers}
    assert response.body == DATA


@pytest.mark.parametrize("name", ["none", "films", "../films", "\0"])
async def test_a_missing_object_is_not_found_before_the_status_line(store: Any, name: str) -> None:
    async with stream(
        StreamingResponse(ObjectStoreSource(store, name)), wait_for_start=False
    ) as client:
        await client.wait_closed()

        assert client.messages == []
        assert isinstance(client.error, FileNotFoundError)
        with pytest.raises(FileNotFoundError):
            await client.started()


async def test_a_source_keeps_the_contract(store: Any) -> None:
    # Less than the whole, for the many requests that this takes.
    data = DATA[:5_000] if isinstance(store, S3Store) else DATA
    obstore.put(store, NAME, data)

    with anyio.fail_after(20):
        await check_source(lambda: ObjectStoreSource(store, NAME), data)


async def test_a_source_is_read_without_asking_for_its_info(store: Any) -> None:
    source = ObjectStoreSource(store, NAME)

    assert b"".join([chunk async for chunk in source.read(5, None)]) == DATA[5:]


# what reaches the store


async def test_a_range_is_passed_through_to_the_store(s3: S3) -> None:
    await get(s3.store(), range="bytes=100-199")

    assert s3.asked("PATH_INFO", "HEAD") != []
    assert s3.asked("HTTP_RANGE") == ["bytes=100-199"]


async def test_several_ranges_are_a_request_each_all_of_one_version(s3: S3) -> None:
    etag = obstore.head(s3.store(), NAME)["e_tag"]

    await get(s3.store(), range="bytes=0-4,500000-500009,-3")

    last = f"bytes={SIZE - 3}-{SIZE - 1}"
    assert s3.asked("HTTP_RANGE") == ["bytes=0-4", "bytes=500000-500009", last]
    assert s3.asked("HTTP_IF_MATCH") == [etag] * 3


async def test_the_whole_is_asked_for_without_a_range(s3: S3) -> None:
    await get(s3.store())

    assert s3.asked("HTTP_RANGE") == [""]


async def test_an_etag_that_was_given_is_not_the_one_the_store_is_asked_for(s3: S3) -> None:
    etag = obstore.head(s3.store(), NAME)["e_tag"]

    await fetch(StreamingResponse(ObjectStoreSource(s3.store(), NAME, etag='"v7"')))

    assert s3.asked("HTTP_IF_MATCH") == [etag]


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=0-4"}])
async def test_head_asks_the_store_once_and_for_no_bytes(s3: S3, headers: dict[str, str]) -> None:
    await get(s3.store(), "HEAD", **headers)

    assert [entry["REQUEST_METHOD"] for entry in s3.log] == ["HEAD"]


# objects that change


class Interrupted(ObjectStoreSource):
    """Something happens before the read of that number."""

    def __init__(self, store: Any, number: int, happens: Callable[[], object]) -> None:
        super().__init__(store, NAME)
        self._number = number
        self._happens = happens

    def read(self, start: int, end: int | None) -> Any:
        self._number -= 1
        if not self._number:
            self._happens()
        return super().read(start, end)


async def test_a_change_before_the_first_byte_is_an_error_before_the_status_line(
    store: Any,
) -> None:
    source = Interrupted(store, 1, lambda: obstore.put(store, NAME, DATA[::-1]))

    with pytest.raises(SourceError, match=f"{NAME}' changed while it was sent"):
        await fetch(StreamingResponse(source))


@pytest.mark.parametrize("replacement", [DATA[::-1], b"less"])
async def test_a_change_between_two_ranges_cuts_the_body(store: Any, replacement: bytes) -> None:
    outcomes: list[StreamOutcome] = []
    source = Interrupted(store, 2, lambda: obstore.put(store, NAME, replacement))
    response = StreamingResponse(source, on_close=outcomes.append)

    answer = await fetch(response, headers={"range": "bytes=0-9,600000-699999"})

    assert (answer.status, answer.complete) == (206, False)
    assert isinstance(answer.error, SourceError)
    assert DATA[600_000:600_100] not in answer.body
    assert [outcome.reason for outcome in outcomes] == ["error"]


async def test_an_object_deleted_between_two_ranges_cuts_the_body(store: Any) -> None:
    source = Interrupted(store, 2, lambda: obstore.delete(store, NAME))

    answer = await fetch(StreamingResponse(source), headers={"range": "bytes=0-9,600000-699999"})

    assert (answer.status, answer.complete) == (206, False)
    assert isinstance(answer.error, FileNotFoundError)


# the client, the extra


async def test_a_client_that_leaves_ends_the_response(store: Any) -> None:
    outcomes: list[StreamOutcome] = []
    response = StreamingResponse(ObjectStoreSource(store, NAME), on_close=outcomes.append)

    async with stream(response, read_ahead=0) as client:
        first = await anext(client)
        await client.disconnect()
        with anyio.fail_after(5):
            await client.wait_closed()

    assert client.error is None
    assert [outcome.reason for outcome in outcomes] == [
        # A store in memory gives the whole as one chunk.
        "complete" if len(first) == SIZE else "disconnect"
    ]


def test_a_source_without_the_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    monkeypatch.setitem(sys.modules, "obstore", None)

    with pytest.raises(ImportError, match=re.escape("pip install 'streamkit[obstore]'")):
        ObjectStoreSource(store, NAME)


# the documentation


def example(monkeypatch: pytest.MonkeyPatch, url: str | None = None) -> Any:
    pytest.importorskip("fastapi")
    if url is not None:
        monkeypatch.setenv("DOWNLOADS", url)
    return runpy.run_path(str(ROOT / "docs" / "examples" / "object_store.py"))["app"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content in {"downloads/a/film.mp4": DATA, "secret": b"secret"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)


@pytest.mark.usefixtures("folder")
async def test_the_example_serves_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    app = example(monkeypatch)

    whole = await fetch(app, "/downloads/a/film.mp4")
    part = await fetch(app, "/downloads/a/film.mp4", headers={"range": "bytes=5-9"})

    assert (whole.status, whole.body) == (200, DATA)
    assert whole.headers["content-type"] == "application/octet-stream"
    assert (part.status, part.body) == (206, DATA[5:10])
    for name in ("none", "../secret", "%2e%2e/secret", "%00"):
        assert (await fetch(app, f"/downloads/{name}")).status == 404, name


async def test_the_example_serves_a_bucket(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {
        "AWS_ENDPOINT_URL": s3.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    obstore.put(s3.store(), "public/film.mp4", DATA)
    app = example(monkeypatch, "s3://films/public")
    s3.log.clear()

    part = await fetch(app, "/downloads/film.mp4", headers={"range": "bytes=5-9"})

    assert (part.status, part.body) == (206, DATA[5:10])
    assert s3.asked("HTTP_RANGE") == ["bytes=5-9"]
    assert (await fetch(app, "/downloads/none.mp4")).status == 404


@pytest.mark.usefixtures("folder")
async def test_the_page_runs() -> None:
    pytest.importorskip("fastapi")
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert len(blocks) == 3

    programs: list[dict[str, Any]] = [{}, {}, {}]
    for block, program in zip(blocks, programs, strict=True):
        exec(compile(block, str(PAGE), "exec"), program)

    film = await fetch(programs[1]["app"], "/film", headers={"range": "bytes=4-9"})
    assert (film.status, film.body) == (206, b"really")
    assert film.headers["content-type"] == "video/mp4"
    assert isinstance(programs[2]["store"], S3Store)
