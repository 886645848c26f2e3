"""What is said of the content: mended entity tags, dates no later than now, stored headers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.conditions import parse_etag
from streamkit.http.dates import format_http_date, parse_http_date
from streamkit.http.plan import Plan, plan

NOW = datetime(2026, 6, 15, 12, 0, 0, 900_000, tzinfo=UTC)
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"


@dataclass(frozen=True)
class Info:
    size: int | None = 10
    etag: str | None = None
    last_modified: datetime | None = None
    media_type: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=())


def ask(
    info: Info,
    fields: dict[str, str] | None = None,
    *,
    method: str = "GET",
    status: int = 200,
    own: list[tuple[bytes, bytes]] | None = None,
) -> tuple[Plan, dict[str, str]]:
    request = [(name.encode(), value.encode("latin-1")) for name, value in (fields or {}).items()]
    decided = plan(method, request, info, now=NOW, status=status, headers=own or ())
    merged = decided.merge(own or ())
    return decided, {name.decode().lower(): value.decode("latin-1") for name, value in merged}


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        pytest.param('"v7"', '"v7"', id="as it should be"),
        pytest.param('W/"v7"', 'W/"v7"', id="weak"),
        pytest.param("v7", '"v7"', id="without its quotes"),
        pytest.param("W/v7", 'W/"v7"', id="weak, without its quotes"),
        pytest.param(" 6fe3a0 ", '"6fe3a0"', id="among spaces"),
        pytest.param("'v7'", "\"'v7'\"", id="in quotes of another kind"),
        pytest.param("caf\xe9", '"caf\xe9"', id="beyond ASCII"),
        pytest.param('"v7', None, id="half a pair of quotes"),
        pytest.param('v"7', None, id="a quote in the middle"),
        pytest.param("v 7", None, id="a space in the middle"),
        pytest.param("", None, id="empty"),
        pytest.param("W/", None, id="weak, of nothing"),
    ],
)
@pytest.mark.parametrize("name", [b"etag", b"ETag"])
def test_an_etag_set_without_quotes_is_mended_or_left_out_whatever_the_client_asks(
    given: str, sent: str | None, name: bytes
) -> None:
    own = [(name, given.encode("latin-1"))]
    for fields in ({}, {"if-none-match": '"x"'}, {"range": "bytes=1-2", "if-range": '"x"'}):
        decided, headers = ask(Info(), fields, own=own)
        assert (decided.status, headers.get("etag")) == (200, sent)
    if sent is not None:
        assert ask(Info(), {"if-none-match": sent}, own=own)[0].status == 304


@given(st.binary(max_size=12))
def test_no_etag_of_the_response_is_an_error(value: bytes) -> None:
    _, headers = ask(Info(), {"if-none-match": '"x"'}, own=[(b"etag", value)])
    assert "etag" not in headers or parse_etag(headers["etag"]) is not None


FUTURE = [
    pytest.param(timedelta(microseconds=200_000), id="within this second"),
    pytest.param(timedelta(seconds=1), id="a second ahead"),
    pytest.param(timedelta(days=3650), id="ten years ahead"),
]


@pytest.mark.parametrize("ahead", FUTURE)
@pytest.mark.parametrize("by", ["the source", "the response"])
def test_a_date_in_the_future_is_never_later_than_now_and_judges_nothing(
    ahead: timedelta, by: str
) -> None:
    moment = NOW + ahead
    said = format_http_date(moment)
    own = [(b"Last-Modified", said.encode())] if by == "the response" else []
    info = Info(last_modified=None if own else moment)
    if own and parse_http_date(said, now=NOW) <= NOW:  # type: ignore[operator]
        pytest.skip("a header has whole seconds")
    _, headers = ask(info, own=own)
    sent = parse_http_date(headers["last-modified"], now=NOW)
    assert sent is not None
    assert timedelta(0) <= NOW - sent < timedelta(seconds=4)
    for date in (said, headers["last-modified"]):
        assert ask(info, {"if-modified-since": date}, own=own)[0].status == 200
        assert ask(info, {"range": "bytes=1-2", "if-range": date}, own=own)[0].status == 200


@pytest.mark.parametrize("ago", [timedelta(0), timedelta(microseconds=1), timedelta(days=1)])
def test_a_date_in_the_past_is_sent_as_it_is(ago: timedelta) -> None:
    moment = NOW - ago
    _, headers = ask(Info(last_modified=moment))
    assert headers["last-modified"] == format_http_date(moment)


STORED = (
    ("Cache-Control", "max-age=60"),
    ("Content-Encoding", "gzip"),
    ("Content-Disposition", 'attachment; filename="a"'),
    ("Content-Language", "en"),
)
DESCRIPTION = {"content-encoding", "content-disposition", "content-language"}
FACTS = {"accept-ranges", "content-length"}


@pytest.mark.parametrize(
    ("fields", "status", "names"),
    [
        pytest.param({}, 200, DESCRIPTION | FACTS | {"cache-control"}, id="200"),
        pytest.param({"range": "bytes=1-2"}, 206,
                     DESCRIPTION | FACTS | {"cache-control", "content-range"}, id="206"),
        pytest.param({"if-none-match": "*"}, 304, {"cache-control"}, id="304 guides caches"),
        pytest.param({"range": "bytes=10-"}, 416, FACTS | {"content-range"},
                     id="416 is not to be stored"),
    ],
)  # fmt: skip
def test_headers_kept_with_the_content_are_sent_where_they_apply(
    fields: dict[str, str], status: int, names: set[str]
) -> None:
    decided, headers = ask(Info(headers=STORED), fields)
    assert (decided.status, set(headers)) == (status, names)


@pytest.mark.parametrize(
    ("ranges", "status", "length"),
    [("1-2,5-6", 200, "10"), ("1-2,3-4", 206, "4"), ("1-2", 206, "2"), ("1-2,20-", 206, "2")],
)
@pytest.mark.parametrize("kept", [True, False])
def test_several_ranges_of_coded_content_are_the_whole(
    kept: bool, ranges: str, status: int, length: str
) -> None:
    info = Info(headers=STORED if kept else ())
    own = [] if kept else [(b"Content-Encoding", b"gzip")]
    decided, headers = ask(info, {"range": f"bytes={ranges}"}, own=own)
    assert (decided.status, headers["content-length"]) == (status, length)
    assert headers["content-encoding"] == "gzip"
    assert "multipart" not in headers.get("content-type", "")


def test_the_headers_of_the_response_go_before_those_kept_with_the_content() -> None:
    own = [(b"Cache-Control", b"no-store"), (b"content-disposition", b"inline")]
    decided, headers = ask(Info(headers=STORED), own=own)
    assert (headers["cache-control"], headers["content-disposition"]) == ("no-store", "inline")
    assert len(decided.merge(own)) == len(headers), "none is sent twice"


@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("GET", 404)])
def test_another_answer_has_what_decodes_its_content_but_no_lifetime(
    method: str, status: int
) -> None:
    _, headers = ask(Info(headers=STORED), method=method, status=status)
    assert headers.keys() == DESCRIPTION | {"content-length"}


@pytest.mark.parametrize("name", ["Content-Length", "content-range", "ETag", "Transfer-Encoding"])
def test_what_is_decided_for_each_answer_is_not_taken_from_the_content(name: str) -> None:
    _, headers = ask(Info(headers=((name, "7"),)))
    assert headers == {"accept-ranges": "bytes", "content-length": "10"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"if-none-match", b'"a"')] * 200_000, id="many fields"),
        pytest.param([(b"if-none-match", b"")] * 200_000, id="many empty fields"),
        pytest.param([(b"If-Match", b'"a",' * 1_000_000)], id="many tags in one"),
        pytest.param([(b"range", b"bytes=" + b"0-1," * 1_000_000)], id="many ranges"),
        pytest.param([(b"if-modified-since", b"x" * 40_000), (b"range", b"y" * 40_000)],
                     id="two long ones"),
    ],
)  # fmt: skip
def test_conditions_too_large_to_be_read_are_refused(fields: list[tuple[bytes, bytes]]) -> None:
    seen = 0

    def counted() -> Iterator[tuple[bytes, bytes]]:
        nonlocal seen
        for pair in fields:
            seen += 1
            yield pair

    own = [(b"cache-control", b"max-age=60"), (b"content-type", b"text/csv")]
    decided = plan("GET", counted(), Info(etag='"a"'), now=NOW, headers=own)
    assert (decided.status, decided.steps) == (431, ())
    assert dict(decided.merge(own)) == {b"etag": b'"a"', b"content-length": b"0"}
    assert seen < 2000, "reading goes no further than the limit"


def test_other_fields_may_be_as_long_as_the_server_lets_them() -> None:
    fields = [(b"cookie", b"x" * 1_000_000)] * 3 + [(b"if-none-match", b'"b", "a"')]
    assert plan("GET", fields, Info(etag='"a"'), now=NOW).status == 304


def test_many_fields_within_the_limit_are_joined() -> None:
    fields = [(b"if-none-match", b'"%d"' % n) for n in range(1000)]
    assert plan("GET", fields, Info(etag='"999"'), now=NOW).status == 304
