"""Ranges and conditions over HTTP: whatever the content is, the answers are the same.

One row a request, one column a kind of content, GET and HEAD, on a real uvicorn.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http.client import HTTPConnection

import pytest

from tests.ranges.answers import TAGGED, WHOLE, ask
from tests.ranges.app import DATA, DATE, EARLIER, KINDS, LATER, READ_NEVER, SIZE
from tests.server import Server

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
