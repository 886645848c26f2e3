"""Ranges and conditions over HTTP: whatever the content is, the answers are the same.

One row a request, one column a kind of content, GET and HEAD, on a real uvicorn.
"""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from streamkit import ByteSource, SourceInfo, StreamingResponse
from tests.http.test_byteranges import parse_multipart
from tests.server import Server, serving

DATA = bytes(range(256)) * 4
SIZE = len(DATA)
MODIFIED = datetime(2026, 6, 1, 12, 0, 0, 750_000, tzinfo=UTC)
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"
EARLIER = "Mon, 01 Jun 2026 11:59:59 GMT"
LATER = "Mon, 01 Jun 2026 12:00:01 GMT"


class Custom(ByteSource):
    def __init__(self, size: int | None = SIZE) -> None:
        self.size = size

    async def info(self) -> SourceInfo:
        return SourceInfo(self.size)

    async def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        stop = SIZE if end is None else end
        for at in range(start, stop, 100):
            yield DATA[at : min(at + 100, stop)]


class Unreadable(ByteSource):
    """Whoever gets a whole answer from it has not read it."""

    async def info(self) -> SourceInfo:
        return SourceInfo(SIZE)

    def read(self, start: int, end: int | None) -> AsyncIterator[bytes]:
        raise AssertionError("the source was read")


def spooled(folder: Path) -> Any:
    file = tempfile.SpooledTemporaryFile()  # noqa: SIM115 (the response owns it)
    file.write(DATA)
    return file


def zip_member(folder: Path) -> Any:
    archive = zipfile.ZipFile(folder / "archive.zip")
    return archive.open("member")


CONTENTS: dict[str, Callable[[Path], Any]] = {
    "path": lambda folder: folder / "file",
    "bytes": lambda folder: DATA,
    "bytes-io": lambda folder: io.BytesIO(DATA),
    "open-file": lambda folder: open(folder / "file", "rb"),  # noqa: SIM115
    "zip-member": zip_member,
    "spooled-file": spooled,
    "source": lambda folder: Custom(),
    "unreadable": lambda folder: Unreadable(),
    "unknown-size": lambda folder: Custom(None),
}
KINDS = list(CONTENTS)[:7]
READ_NEVER = "unreadable"

VALIDATORS: dict[str, Any] = {"etag": '"v7"', "last_modified": MODIFIED}
# What a response has of its own, by the name that the request gives.
RESPONSES: dict[str, dict[str, Any]] = {
    "both": VALIDATORS,
    "weak": {"etag": 'W/"v7"'},
    "dated": {"last_modified": MODIFIED},
    "bare": {},
    "own": {**VALIDATORS, "headers": {"ETag": '"own"', "Last-Modified": LATER, "Vary": "X"}},
    "no-ranges": {**VALIDATORS, "headers": {"Accept-Ranges": "none"}},
    "created": {**VALIDATORS, "status_code": 201},
    "described": {
        **VALIDATORS,
        "filename": "a.bin",
        "headers": {"Cache-Control": "max-age=60", "Content-Language": "de"},
    },
}


async def endpoint(request: Request) -> Response:
    given = RESPONSES[request.path_params["response"]]
    content = CONTENTS[request.path_params["content"]](request.app.state.folder)
    return StreamingResponse(content, media_type="application/x-data", **given)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    with tempfile.TemporaryDirectory() as name:
        app.state.folder = folder = Path(name)
        (folder / "file").write_bytes(DATA)
        with zipfile.ZipFile(folder / "archive.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("member", DATA)
        yield


METHODS = ["GET", "HEAD", "POST"]
site = Starlette(
    routes=[Route("/{content}/{response}", endpoint, methods=METHODS)], lifespan=lifespan
)
sent: list[str] = []


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """The site, and at /sent the types of the messages of the last response."""

    async def noting_send(message: Message) -> None:
        sent.append(message["type"])
        await send(message)

    if scope["type"] == "http" and scope["path"] == "/sent":
        await JSONResponse(sent)(scope, receive, send)
        return
    sent.clear()
    await site(scope, receive, noting_send)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(
        ["uvicorn", "--port={port}", "--log-level=warning", "tests.test_ranges_on_a_server:app"]
    ) as server:
        yield server


@pytest.fixture(scope="module")
def connection(server: Server) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def parts(self) -> list[tuple[str | None, bytes]]:
        """Content-Range and bytes of each part; a single range is one."""
        if "content-range" in self.headers:
            return [(self.headers["content-range"], self.body)]
        kind = self.headers["content-type"].encode()
        assert kind.startswith(b"multipart/byteranges; boundary=")
        parts = parse_multipart(kind, self.body)
        assert {part["content-type"] for part in parts} == {"application/x-data"}
        return [(part["content-range"], part_bytes(part)) for part in parts]


def part_bytes(part: Any) -> bytes:
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body


def ask(
    connection: HTTPConnection, place: str, fields: dict[str, str], method: str = "GET"
) -> Answer:
    connection.request(method, f"/{place}", headers=fields)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    if method != "HEAD" and "content-length" in headers:
        assert len(body) == int(headers["content-length"])
    for name in ("date", "server"):
        headers.pop(name, None)
    return Answer(response.status, headers, body)


TYPE = {"content-type": "application/x-data"}
TAGGED = {"etag": '"v7"', "last-modified": DATE}
WHOLE = TYPE | TAGGED | {"accept-ranges": "bytes", "content-length": str(SIZE)}
NOT_MODIFIED = {"etag": '"v7"'}
FAILED = {"etag": '"v7"', "content-length": "0"}
UNSATISFIABLE = FAILED | {"accept-ranges": "bytes", "content-range": f"bytes */{SIZE}"}


@dataclass
class Row:
    """A request, the status it gets, and the spans of bytes that a 206 holds."""

    name: str
    fields: dict[str, str]
    status: int
    spans: list[tuple[int, int]] = field(default_factory=list)


def ranges(name: str, value: str, status: int, *spans: tuple[int, int]) -> Row:
    return Row(name, {"Range": value}, status, list(spans))


MANY = ",".join(f"{at}-{at}" for at in range(0, 200, 2))
ROWS = [
    Row("nothing asked for", {}, 200),
    ranges("a range", "bytes=10-19", 206, (10, 20)),
    ranges("the first byte", "bytes=0-0", 206, (0, 1)),
    ranges("the last byte", f"bytes={SIZE - 1}-{SIZE - 1}", 206, (SIZE - 1, SIZE)),
    ranges("the whole, as a range", f"bytes=0-{SIZE - 1}", 206, (0, SIZE)),
    ranges("an open end", "bytes=1000-", 206, (1000, SIZE)),
    ranges("an open end from the beginning", "bytes=0-", 206, (0, SIZE)),
    ranges("an end behind the end", "bytes=1000-99999", 206, (1000, SIZE)),
    ranges("a suffix", "bytes=-24", 206, (1000, SIZE)),
    ranges("a suffix longer than the whole", "bytes=-99999", 206, (0, SIZE)),
    ranges("the unit in capitals", "BYTES=10-19", 206, (10, 20)),
    ranges("leading zeros", "bytes=0010-0019", 206, (10, 20)),
    ranges("empty members", "bytes=,10-19,,", 206, (10, 20)),
    ranges("two ranges", "bytes=10-19,30-39", 206, (10, 20), (30, 40)),
    ranges("spaces around the comma", "bytes=10-19 , 30-39", 206, (10, 20), (30, 40)),
    ranges("in the order asked for", "bytes=30-39,10-19", 206, (30, 40), (10, 20)),
    ranges("of every form", "bytes=10-19,-4,1000-1009", 206, (10, 20), (1020, 1024), (1000, 1010)),
    ranges("ranges that touch", "bytes=10-19,20-29", 206, (10, 30)),
    ranges("ranges that overlap", "bytes=10-25,20-29", 206, (10, 30)),
    ranges("one within another", "bytes=10-99,20-29", 206, (10, 100)),
    ranges("the same twice", "bytes=10-19,10-19", 206, (10, 20)),
    ranges("joined through a third", "bytes=30-39,10-19,20-29", 206, (10, 40)),
    ranges("some joined, some not", "bytes=10-19,50-59,15-24", 206, (10, 25), (50, 60)),
    ranges("one of two that isn't there", "bytes=10-19,5000-6000", 206, (10, 20)),
    ranges("an empty suffix beside another", "bytes=-0,10-19", 206, (10, 20)),
    ranges("a hundred members", f"bytes={MANY}", 206, *((at, at + 1) for at in range(0, 200, 2))),
    ranges("more than a hundred members", f"bytes={MANY},300-300", 200),
    ranges("together longer than the whole", "bytes=0-999,0-99", 200),
    ranges("behind the end", f"bytes={SIZE}-", 416),
    ranges("far behind the end", "bytes=" + "9" * 700 + "-", 416),
    ranges("all behind the end", "bytes=5000-6000,7000-", 416),
    ranges("an empty suffix", "bytes=-0", 416),
    ranges("an unknown unit", "lines=10-19", 200),
    ranges("no unit", "10-19", 200),
    ranges("no ranges", "bytes=", 200),
    ranges("last before first", "bytes=19-10", 200),
    ranges("one of two malformed", "bytes=10-19,x-y", 200),
    ranges("a sign", "bytes=+10-19", 200),
    ranges("an underscore", "bytes=1_0-19", 200),
    ranges("no dash", "bytes=10", 200),
    ranges("two dashes", "bytes=10-19-29", 200),
    ranges("a space within", "bytes=10 -19", 200),
    ranges("no number", "bytes=-", 200),
    Row("the version held", {"If-None-Match": '"v7"'}, 304),
    Row("held, by the weak comparison", {"If-None-Match": 'W/"v7"'}, 304),
    Row("one of those held", {"If-None-Match": '"v6", W/"v7" , "v8"'}, 304),
    Row("anything held", {"If-None-Match": "*"}, 304),
    Row("another version held", {"If-None-Match": '"v6"'}, 200),
    Row("a tag without quotes", {"If-None-Match": "v7"}, 200),
    Row("not modified since", {"If-Modified-Since": DATE}, 304),
    Row("not modified since later", {"If-Modified-Since": LATER}, 304),
    Row("modified since", {"If-Modified-Since": EARLIER}, 200),
    Row("since a date of RFC 850", {"If-Modified-Since": "Monday, 01-Jun-26 12:00:00 GMT"}, 304),
    Row("since a date of asctime", {"If-Modified-Since": "Mon Jun  1 12:00:00 2026"}, 304),
    Row("since a date that is none", {"If-Modified-Since": "last week"}, 200),
    Row("a tag goes before a date", {"If-None-Match": '"v6"', "If-Modified-Since": DATE}, 200),
    Row("held goes before a range", {"If-None-Match": '"v7"', "Range": "bytes=10-19"}, 304),
    Row("held goes before no range", {"If-None-Match": '"v7"', "Range": "bytes=5000-"}, 304),
    Row("changed, with a range", {"If-None-Match": '"v6"', "Range": "bytes=10-19"}, 206,
        [(10, 20)]),
    Row("the version expected", {"If-Match": '"v7"'}, 200),
    Row("one of those expected", {"If-Match": '"v6", "v7"'}, 200),
    Row("anything expected", {"If-Match": "*"}, 200),
    Row("another version expected", {"If-Match": '"v6"'}, 412),
    Row("expected, but weak", {"If-Match": 'W/"v7"'}, 412),
    Row("unmodified since", {"If-Unmodified-Since": DATE}, 200),
    Row("modified, though not expected", {"If-Unmodified-Since": EARLIER}, 412),
    Row("a date that is none", {"If-Unmodified-Since": "last week"}, 200),
    Row("If-Match goes first", {"If-Match": '"v7"', "If-Unmodified-Since": EARLIER}, 200),
    Row("412 goes before 304", {"If-Match": '"v6"', "If-None-Match": '"v7"'}, 412),
    Row("412 goes before 416", {"If-Match": '"v6"', "Range": "bytes=5000-"}, 412),
    Row("a range of the version", {"If-Range": '"v7"', "Range": "bytes=10-19"}, 206, [(10, 20)]),
    Row("ranges of the version", {"If-Range": '"v7"', "Range": "bytes=1-2,5-6"}, 206,
        [(1, 3), (5, 7)]),
    Row("a range of another version", {"If-Range": '"v6"', "Range": "bytes=10-19"}, 200),
    Row("a range of it, but weak", {"If-Range": 'W/"v7"', "Range": "bytes=10-19"}, 200),
    Row("a range of the date", {"If-Range": DATE, "Range": "bytes=10-19"}, 206, [(10, 20)]),
    Row("a range of an earlier date", {"If-Range": EARLIER, "Range": "bytes=10-19"}, 200),
    Row("a range of a later date", {"If-Range": LATER, "Range": "bytes=10-19"}, 200),
    Row("no range of the version", {"If-Range": '"v7"', "Range": "bytes=5000-"}, 416),
    Row("no range of another version", {"If-Range": '"v6"', "Range": "bytes=5000-"}, 200),
    Row("If-Range alone", {"If-Range": '"v7"'}, 200),
]  # fmt: skip
HEADERS = {304: NOT_MODIFIED, 412: FAILED, 416: UNSATISFIABLE}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_content_gets_the_same_answer(
    kind: str, row: Row, connection: HTTPConnection
) -> None:
    answer = ask(connection, f"{kind}/both", row.fields)
    assert answer.status == row.status
    if row.status == 200:
        assert (answer.headers, answer.body) == (WHOLE, DATA)
    elif row.status == 206:
        assert answer.headers.items() >= (TAGGED | {"accept-ranges": "bytes"}).items()
        assert answer.parts() == [
            (f"bytes {start}-{end - 1}/{SIZE}", DATA[start:end]) for start, end in row.spans
        ]
    else:
        assert (answer.headers, answer.body) == (HEADERS[row.status], b"")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@pytest.mark.parametrize("kind", [*KINDS, READ_NEVER])
def test_head_is_answered_as_a_get_without_a_range_would_be(
    kind: str, row: Row, connection: HTTPConnection
) -> None:
    answer = ask(connection, f"{kind}/both", row.fields, "HEAD")
    status = row.status if row.status in (304, 412) else 200
    assert (answer.status, answer.body) == (status, b"")
    assert answer.headers == HEADERS.get(status, WHOLE)


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.status not in (200, 206)], ids=lambda row: row.name
)
def test_an_answer_without_content_reads_none(row: Row, connection: HTTPConnection) -> None:
    answer = ask(connection, f"{READ_NEVER}/both", row.fields)
    assert (answer.status, answer.headers) == (row.status, HEADERS[row.status])


def test_an_answer_with_content_reads_it(connection: HTTPConnection) -> None:
    assert ask(connection, f"{READ_NEVER}/both", {}).status == 500
    # The server closes its side after an error, without a word.
    connection.close()


# Status, and what the headers hold beside what a table says; None: that there is none such.
Expected = dict[str, str | None]
OTHERS: list[tuple[str, str, dict[str, str], int, Expected]] = [
    ("a weak tag is revalidated", "weak", {"If-None-Match": '"v7"'}, 304, {"etag": 'W/"v7"'}),
    ("a weak tag can't be expected", "weak", {"If-Match": 'W/"v7"'}, 412, {"etag": 'W/"v7"'}),
    ("a weak tag resumes nothing", "weak", {"If-Range": 'W/"v7"', "Range": "bytes=1-"}, 200, {}),
    ("a weak tag leaves ranges alone", "weak", {"Range": "bytes=1-2"}, 206,
     {"content-range": f"bytes 1-2/{SIZE}"}),
    ("a date alone is revalidated", "dated", {"If-Modified-Since": DATE}, 304,
     {"last-modified": DATE}),
    ("a date alone resumes", "dated", {"If-Range": DATE, "Range": "bytes=1-2"}, 206, {}),
    ("a tag of what has none", "dated", {"If-None-Match": '"v7"'}, 200, {}),
    ("an expected tag of what has none", "dated", {"If-Match": '"v7"'}, 412, {}),
    ("a response's own headers", "own", {}, 200,
     {"etag": '"own"', "last-modified": LATER, "vary": "X"}),
    ("conditions use them", "own", {"If-None-Match": '"own"'}, 304,
     {"etag": '"own"', "vary": "X", "last-modified": None}),
    ("and not those given beside", "own", {"If-None-Match": '"v7"'}, 200, {"etag": '"own"'}),
    ("the date as well", "own", {"If-Modified-Since": DATE}, 200, {"last-modified": LATER}),
    ("ranges too", "own", {"If-Range": '"own"', "Range": "bytes=1-2"}, 206, {"etag": '"own"'}),
    ("expected ones too", "own", {"If-Match": '"v7"'}, 412, {"etag": '"own"'}),
    ("ranges can be turned off", "no-ranges", {"Range": "bytes=1-2"}, 200,
     {"accept-ranges": "none", "content-range": None, "etag": '"v7"'}),
    ("a status of its own has no ranges", "created", {"Range": "bytes=1-2"}, 201,
     {"content-length": str(SIZE), "content-range": None, "etag": None, "accept-ranges": None}),
    ("nor conditions", "created", {"If-None-Match": "*", "If-Match": '"v6"'}, 201, {}),
    ("a 304 says what a cache needs", "described", {"If-None-Match": '"v7"'}, 304,
     {"etag": '"v7"', "cache-control": "max-age=60", "content-language": None,
      "content-disposition": None, "content-type": None, "content-length": None}),
    ("a 416 says nothing of freshness", "described", {"Range": "bytes=5000-"}, 416,
     {"cache-control": None, "content-disposition": None, "content-type": None}),
    ("a 206 says what a 200 would", "described", {"Range": "bytes=1-2"}, 206,
     {"cache-control": "max-age=60", "content-disposition": 'attachment; filename="a.bin"',
      "content-language": "de"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "response", "fields", "status", "expected"),
    [
        pytest.param(kind, *row[1:], id=f"{row[0]}-{kind}")
        for row in OTHERS
        for kind in KINDS
        # A file has a tag of its own.
        if row[1] != "dated" or kind not in ("path", "open-file")
    ],
)
def test_a_response_has_its_say(
    kind: str,
    response: str,
    fields: dict[str, str],
    status: int,
    expected: Expected,
    connection: HTTPConnection,
) -> None:
    answer = ask(connection, f"{kind}/{response}", fields)
    assert answer.status == status
    assert {name: answer.headers.get(name) for name in expected} == expected


@pytest.mark.parametrize("kind", ["bytes", "bytes-io", "zip-member", "spooled-file", "source"])
def test_what_has_no_validator_has_ranges_all_the_same(
    kind: str, connection: HTTPConnection
) -> None:
    answer = ask(connection, f"{kind}/bare", {"Range": "bytes=1-2"})
    assert (answer.status, answer.body) == (206, DATA[1:3])
    assert not answer.headers.keys() & {"etag", "last-modified"}
    for fields, status in (
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"v7"'}, 200),
        ({"If-Modified-Since": LATER}, 200),
        ({"If-Match": '"v7"'}, 412),
        ({"If-Match": "*"}, 200),
        ({"If-Range": '"v7"', "Range": "bytes=1-2"}, 200),
        ({"If-Range": DATE, "Range": "bytes=1-2"}, 200),
    ):
        assert ask(connection, f"{kind}/bare", fields).status == status


@pytest.mark.parametrize("kind", ["path", "open-file"])
def test_a_file_is_resumed_and_revalidated_by_its_own_validators(
    kind: str, connection: HTTPConnection
) -> None:
    first = ask(connection, f"{kind}/bare", {"Range": "bytes=0-99"})
    etag, date = first.headers["etag"], first.headers["last-modified"]
    assert etag.startswith('"')
    rest = ask(connection, f"{kind}/bare", {"Range": "bytes=100-", "If-Range": etag})
    assert (rest.status, first.body + rest.body) == (206, DATA)
    assert ask(connection, f"{kind}/bare", {"If-None-Match": etag}).status == 304
    assert ask(connection, f"{kind}/bare", {"If-Modified-Since": date}).status == 304


def test_a_path_and_its_open_file_are_one_version(connection: HTTPConnection) -> None:
    by_path, by_file = (ask(connection, f"{kind}/bare", {}) for kind in ("path", "open-file"))
    assert by_path == by_file


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param({}, 200, id="nothing"),
        pytest.param({"Range": "bytes=1-2"}, 200, id="a range"),
        pytest.param({"Range": "bytes=5000-"}, 200, id="a range behind any end"),
        pytest.param({"If-None-Match": '"v7"'}, 304, id="a version held"),
        pytest.param({"If-Match": '"v6"'}, 412, id="another version"),
    ],
)
def test_a_source_of_unknown_size_is_streamed_and_has_conditions(
    fields: dict[str, str], status: int, connection: HTTPConnection
) -> None:
    answer = ask(connection, "unknown-size/both", fields)
    assert answer.status == status
    if status == 200:
        assert answer.body == DATA
        assert answer.headers == TYPE | TAGGED | {"transfer-encoding": "chunked"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_of_a_post_has_neither_ranges_nor_conditions(
    kind: str, connection: HTTPConnection
) -> None:
    fields = {"Range": "bytes=1-2", "If-None-Match": "*", "Content-Length": "0"}
    answer = ask(connection, f"{kind}/both", fields, "POST")
    assert (answer.status, answer.body) == (200, DATA)
    assert not answer.headers.keys() & {"etag", "accept-ranges", "content-range"}


def test_a_range_sent_twice_is_malformed(server: Server) -> None:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("GET", "/bytes/both")
    connection.putheader("Range", "bytes=1-2")
    connection.putheader("Range", "bytes=5-6")
    connection.endheaders()
    assert connection.getresponse().status == 200
    connection.close()


def test_every_boundary_is_another(connection: HTTPConnection) -> None:
    fields = {"Range": "bytes=1-2,5-6"}
    kinds = {ask(connection, "bytes/both", fields).headers["content-type"] for _ in range(3)}
    assert len(kinds) == 3


SENDING = {
    "granian": ["--interface=asgi", "--port={port}", "--no-ws", "--log-level=warning"],
    "anycorn": ["--bind=127.0.0.1:{port}", "--log-level=warning"],
}


@pytest.fixture(scope="module", params=SENDING)
def sending_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that offers to send files by their paths."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    command = [request.param, *SENDING[request.param]]
    with serving([*command, "tests.test_ranges_on_a_server:app"]) as server:
        yield server


@pytest.mark.parametrize(
    ("method", "fields", "kind", "status", "by_path"),
    [
        pytest.param("GET", {}, "path", 200, True, id="the whole"),
        pytest.param("GET", {"Range": "bytes=0-"}, "path", 206, True, id="a range of the whole"),
        pytest.param("GET", {"Range": "bytes=1-9"}, "path", 206, False, id="a range"),
        pytest.param("GET", {"Range": "bytes=1-2,5-6"}, "path", 206, False, id="ranges"),
        pytest.param("GET", {"If-None-Match": "*"}, "path", 304, False, id="a 304"),
        pytest.param("HEAD", {}, "path", 200, False, id="HEAD"),
        pytest.param("GET", {}, "open-file", 200, False, id="an open file"),
        pytest.param("GET", {}, "bytes", 200, False, id="bytes"),
    ],
)
def test_a_server_that_offers_it_sends_whole_files_by_their_paths(
    method: str,
    fields: dict[str, str],
    kind: str,
    status: int,
    by_path: bool,
    sending_server: Server,
) -> None:
    connection = HTTPConnection("127.0.0.1", sending_server.port, timeout=20)
    answer = ask(connection, f"{kind}/both", fields, method)
    assert answer.status == status
    if method == "GET" and status == 200:
        assert answer.body == DATA
    if status == 206:
        assert all(body in DATA for _, body in answer.parts())
    connection.request("GET", "/sent")
    types = connection.getresponse().read()
    assert (b"http.response.pathsend" in types) is by_path
    connection.close()
