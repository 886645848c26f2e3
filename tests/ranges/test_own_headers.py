"""Validators and headers of a response's own, of a file's, or none: the answers go by them."""

from __future__ import annotations

from http.client import HTTPConnection

import pytest

from tests.ranges.answers import TAGGED, TYPE, ask
from tests.ranges.app import DATA, DATE, KINDS, LATER, SIZE

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
