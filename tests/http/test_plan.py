from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.plan import Plan, Rest, plan
from streamkit.http.ranges import Span
from tests.http.test_byteranges import parse_multipart

NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)
MODIFIED = datetime(2026, 6, 1, 12, 0, 0, 750_000, tzinfo=UTC)
DATE = "Mon, 01 Jun 2026 12:00:00 GMT"
CONTENT = b"0123456789"


@dataclass(frozen=True)
class Info:
    size: int | None = 10
    etag: str | None = '"v7"'
    last_modified: datetime | None = MODIFIED
    media_type: str | None = "text/plain"


def ask(
    fields: dict[str, str] | None = None,
    *,
    method: str = "GET",
    info: Info | None = None,
    status: int = 200,
    own: list[tuple[bytes, bytes]] | None = None,
) -> Plan:
    request = [(name.encode(), value.encode("latin-1")) for name, value in (fields or {}).items()]
    return plan(
        method,
        request,
        info or Info(),
        now=NOW,
        status=status,
        headers=own or (),
        boundary=b"frontier",
    )


def sent(decided: Plan) -> dict[str, str]:
    return {name.decode(): value.decode("latin-1") for name, value in decided.headers}


WHOLE = {
    "content-type": "text/plain",
    "etag": '"v7"',
    "last-modified": DATE,
    "accept-ranges": "bytes",
    "content-length": "10",
}
PARTIAL = WHOLE | {"content-length": "2", "content-range": "bytes 2-3/10"}
NOT_MODIFIED = {"etag": '"v7"'}
FAILED = {"etag": '"v7"', "content-length": "0"}
UNSATISFIABLE = FAILED | {"accept-ranges": "bytes", "content-range": "bytes */10"}


@pytest.mark.parametrize(
    ("fields", "get", "head", "headers"),
    [
        pytest.param({}, 200, 200, WHOLE, id="nothing asked"),
        pytest.param({"range": "bytes=2-3"}, 206, 200, PARTIAL, id="a range"),
        pytest.param({"range": "bytes=2-3,9000-"}, 206, 200, PARTIAL, id="partly satisfiable"),
        pytest.param({"range": "bytes=10-"}, 416, 200, UNSATISFIABLE, id="past the end"),
        pytest.param({"range": "bytes=-0"}, 416, 200, UNSATISFIABLE, id="an empty suffix"),
        pytest.param({"range": "bytes=3-2"}, 200, 200, WHOLE, id="an invalid range is ignored"),
        pytest.param({"range": "lines=2-3"}, 200, 200, WHOLE, id="an unknown unit is ignored"),
        pytest.param({"range": "bytes=0-,0-"}, 200, 200, WHOLE, id="an abusive set is ignored"),
        pytest.param({"range": "bytes=2-3", "if-range": '"v7"'}, 206, 200, PARTIAL, id="If-Range"),
        pytest.param({"range": "bytes=2-3", "if-range": DATE}, 206, 200, PARTIAL, id="by date"),
        pytest.param({"range": "bytes=2-3", "if-range": '"v6"'}, 200, 200, WHOLE, id="changed"),
        pytest.param({"range": "bytes=10-", "if-range": '"v6"'}, 200, 200, WHOLE,
                     id="a range that does not apply is not refused"),
        pytest.param({"if-range": '"v6"'}, 200, 200, WHOLE, id="If-Range without Range"),
        pytest.param({"if-none-match": '"v7"'}, 304, 304, NOT_MODIFIED, id="held"),
        pytest.param({"if-modified-since": DATE}, 304, 304, NOT_MODIFIED, id="held by date"),
        pytest.param({"if-none-match": '"v7"', "range": "bytes=2-3"}, 304, 304, NOT_MODIFIED,
                     id="held goes before a range"),
        pytest.param({"if-none-match": '"v6"', "range": "bytes=2-3"}, 206, 200, PARTIAL,
                     id="a range of what is not held"),
        pytest.param({"if-match": '"v6"'}, 412, 412, FAILED, id="another version"),
        pytest.param({"if-match": '"v6"', "range": "bytes=10-"}, 412, 412, FAILED,
                     id="a condition that fails goes before a range"),
        pytest.param({"if-match": '"v7"', "range": "bytes=2-3"}, 206, 200, PARTIAL,
                     id="a range of the same version"),
    ],
)  # fmt: skip
def test_a_request_gets_its_answer(
    fields: dict[str, str], get: int, head: int, headers: dict[str, str]
) -> None:
    by_get, by_head = ask(fields), ask(fields, method="HEAD")
    assert (by_get.status, by_head.status) == (get, head)
    assert sent(by_get) == headers
    assert sent(by_head) == (headers if head == get else WHOLE)
    assert by_head.steps == ()


@pytest.mark.parametrize(
    ("fields", "steps", "length"),
    [
        pytest.param({}, (Span(0, 10),), 10, id="all of it"),
        pytest.param({"range": "bytes=2-3"}, (Span(2, 4),), 2, id="one span"),
        pytest.param({"range": "bytes=2-3,4-5"}, (Span(2, 6),), 4, id="joined to one span"),
        pytest.param({"range": "bytes=10-"}, (), 0, id="416"),
        pytest.param({"if-none-match": "*"}, (), 0, id="304"),
        pytest.param({"if-match": '"x"'}, (), 0, id="412"),
    ],
)
def test_the_steps_say_what_to_read(
    fields: dict[str, str], steps: tuple[Span, ...], length: int
) -> None:
    decided = ask(fields)
    assert decided.steps == decided.spans == steps
    assert decided.body_length == length


def test_several_spans_are_parts_of_a_multipart_body() -> None:
    decided = ask({"range": "bytes=7-8,0-1"})
    assert decided.status == 206
    assert decided.spans == (Span(7, 9), Span(0, 2))
    assert sent(decided) == WHOLE | {
        "content-type": "multipart/byteranges; boundary=frontier",
        "content-length": str(len(carry_out(decided, CONTENT))),
    }
    assert b"Content-Type: text/plain\r\nContent-Range: bytes 7-8/10" in carry_out(decided, CONTENT)


def test_a_boundary_is_made_where_none_is_given() -> None:
    request = [(b"range", b"bytes=0-1,5-6")]
    types = {dict(plan("GET", request, Info(), now=NOW).headers)[b"content-type"] for _ in "ab"}
    assert len(types) == 2


def test_the_parts_have_the_type_that_the_response_would_have_had() -> None:
    own = [(b"Content-Type", b"text/csv; charset=utf-8")]
    body = carry_out(ask({"range": "bytes=0-1,5-6"}, own=own), CONTENT)
    assert body.count(b"Content-Type: text/csv; charset=utf-8\r\n") == 2


def test_parts_of_an_unknown_type_have_none() -> None:
    body = carry_out(ask({"range": "bytes=0-1,5-6"}, info=Info(media_type=None)), CONTENT)
    assert b"Content-Type" not in body


@pytest.mark.parametrize(
    ("value", "status", "headers"),
    [
        pytest.param(None, 200, {"content-length": "0"}, id="nothing asked"),
        pytest.param("bytes=0-", 416, {"content-range": "bytes */0"}, id="its first byte"),
        pytest.param("bytes=-5", 200, {"content-length": "0"}, id="its last bytes"),
    ],
)
def test_an_empty_representation_is_never_read(
    value: str | None, status: int, headers: dict[str, str]
) -> None:
    decided = ask({} if value is None else {"range": value}, info=Info(size=0))
    assert decided.status == status
    assert decided.steps == ()
    assert sent(decided).items() >= headers.items()


def test_an_unknown_size_allows_no_ranges() -> None:
    decided = ask({"range": "bytes=2-3"}, info=Info(size=None))
    assert decided.status == 200
    assert decided.steps == (Rest(),)
    assert decided.body_length is None
    assert sent(decided).keys() == {"content-type", "etag", "last-modified"}


def test_an_unknown_size_is_revalidated_all_the_same() -> None:
    assert ask({"if-none-match": '"v7"'}, info=Info(size=None)).status == 304


def test_without_an_etag_the_date_is_kept_in_a_304() -> None:
    assert sent(ask({"if-modified-since": DATE}, info=Info(etag=None))) == {"last-modified": DATE}


def test_without_any_validator_none_is_sent() -> None:
    info = Info(etag=None, last_modified=None, media_type=None)
    assert sent(ask(info=info)) == {"accept-ranges": "bytes", "content-length": "10"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_get_the_whole_without_conditions(method: str) -> None:
    decided = ask({"range": "bytes=2-3", "if-none-match": "*", "if-match": '"x"'}, method=method)
    assert (decided.status, decided.steps) == (200, (Span(0, 10),))
    assert sent(decided) == {"content-type": "text/plain", "content-length": "10"}


@pytest.mark.parametrize("status", [201, 203, 206, 404, 500])
def test_another_status_gets_the_whole_without_conditions(status: int) -> None:
    decided = ask({"range": "bytes=2-3", "if-none-match": "*"}, status=status)
    assert (decided.status, decided.steps) == (status, (Span(0, 10),))
    assert sent(decided) == {"content-type": "text/plain", "content-length": "10"}


@pytest.mark.parametrize(
    ("status", "merged"),
    [
        pytest.param(103, [], id="interim"),
        pytest.param(204, [], id="no content"),
        pytest.param(205, [(b"content-length", b"0")], id="reset content"),
        pytest.param(304, [], id="not modified, decided by the application"),
    ],
)
def test_a_status_without_content_reads_none(
    status: int, merged: list[tuple[bytes, bytes]]
) -> None:
    decided = ask(status=status)
    assert (decided.status, decided.steps) == (status, ())
    assert decided.merge([(b"content-length", b"10")]) == merged


def test_the_response_keeps_its_own_validators_and_is_judged_by_them() -> None:
    own = [(b"ETag", b'"mine"'), (b"Last-Modified", b"Mon, 01 Jun 2026 13:00:00 GMT")]
    assert ask({"if-none-match": '"v7"'}, own=own).status == 200
    assert ask({"if-none-match": '"mine"'}, own=own).status == 304
    assert ask({"if-modified-since": DATE}, own=own).status == 200
    assert ask({"if-modified-since": "Mon, 01 Jun 2026 13:00:00 GMT"}, own=own).status == 304
    assert sent(ask(own=own)).keys() == {"content-type", "accept-ranges", "content-length"}
    assert ask(own=own).merge(own)[:2] == own


def test_a_date_of_its_own_that_is_none_is_kept_and_judges_nothing() -> None:
    own = [(b"last-modified", b"today")]
    decided = ask({"if-modified-since": DATE}, own=own)
    assert decided.status == 200
    assert decided.merge(own)[0] == own[0]


def test_the_response_can_decline_ranges() -> None:
    own = [(b"accept-ranges", b"none")]
    decided = ask({"range": "bytes=2-3"}, own=own)
    assert decided.status == 200
    assert [pair for pair in decided.merge(own) if pair[0] == b"accept-ranges"] == own


def test_an_etag_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'v7' is not an entity tag"):
        ask(info=Info(etag="v7"))


OWN = [
    (b"Cache-Control", b"max-age=60"),
    (b"Content-Disposition", b"attachment"),
    (b"Content-Encoding", b"identity"),
    (b"Content-Language", b"en"),
    (b"Content-Length", b"99"),
    (b"Content-Location", b"/v7"),
    (b"Content-Security-Policy", b"default-src 'none'"),
    (b"Content-Type", b"text/csv"),
    (b"Date", b"Mon, 15 Jun 2026 12:00:00 GMT"),
    (b"Expires", b"Mon, 15 Jun 2026 12:01:00 GMT"),
    (b"Last-Modified", DATE.encode()),
    (b"Set-Cookie", b"a=1"),
    (b"Set-Cookie", b"b=2"),
    (b"Vary", b"Cookie"),
]
GUIDANCE = {"cache-control", "expires"}
NEUTRAL = {"content-location", "content-security-policy", "date", "etag", "set-cookie", "vary"}
DESCRIPTION = {
    "accept-ranges",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-type",
    "last-modified",
}


@pytest.mark.parametrize(
    ("fields", "status", "names"),
    [
        pytest.param({}, 200, GUIDANCE | NEUTRAL | DESCRIPTION, id="200 keeps all"),
        pytest.param({"range": "bytes=2-3"}, 206, GUIDANCE | NEUTRAL | DESCRIPTION
                     | {"content-range"}, id="206 keeps all"),
        pytest.param({"range": "bytes=2-3,5-6"}, 200, GUIDANCE | NEUTRAL | DESCRIPTION,
                     id="200 for parts of what is coded keeps all"),
        pytest.param({"if-none-match": "*"}, 304, GUIDANCE | NEUTRAL, id="304 guides caches"),
        pytest.param({"if-match": '"x"'}, 412, GUIDANCE | NEUTRAL | {"content-length"},
                     id="412 says that it is empty"),
        pytest.param({"range": "bytes=10-"}, 416, NEUTRAL
                     | {"accept-ranges", "content-length", "content-range"},
                     id="416 is not to be cached like the content"),
    ],
)  # fmt: skip
def test_the_headers_of_the_response_are_kept_as_far_as_they_apply(
    fields: dict[str, str], status: int, names: set[str]
) -> None:
    decided = ask(fields, own=OWN)
    merged = decided.merge(OWN)
    assert decided.status == status
    assert {name.decode().lower() for name, _ in merged} == names
    assert [value for name, value in merged if name == b"Set-Cookie"] == [b"a=1", b"b=2"]
    assert len(merged) == len(names) + 1, "no other header is sent twice"


def test_parts_have_no_content_range_of_their_own() -> None:
    own = [pair for pair in OWN if pair[0].lower() != b"content-encoding"]
    decided = ask({"range": "bytes=2-3,5-6"}, own=own)
    assert decided.status == 206
    names = {name.decode().lower() for name, _ in decided.merge(own)}
    assert names == (GUIDANCE | NEUTRAL | DESCRIPTION) - {"content-encoding"}


def test_a_content_range_of_the_response_does_not_survive() -> None:
    own = [(b"content-range", b"bytes 0-9/10")]
    assert b"content-range" not in dict(ask(own=own).merge(own))


def carry_out(decided: Plan, content: bytes) -> bytes:
    return b"".join(
        step if isinstance(step, bytes) else content[step.start : step.end]
        for step in decided.steps
    )


numbers = st.integers(0, 400).map(str) | st.just("")
members = st.tuples(numbers, numbers).map("-".join)


@given(st.binary(max_size=300), st.lists(members, min_size=1, max_size=6))
def test_the_body_is_as_long_as_announced_and_holds_the_slices(
    content: bytes, asked: list[str]
) -> None:
    decided = ask({"range": "bytes=" + ",".join(asked)}, info=Info(size=len(content)))
    body, headers = carry_out(decided, content), sent(decided)
    assert len(body) == decided.body_length == int(headers["content-length"])
    slices = [content[span.start : span.end] for span in decided.spans]
    if decided.status == 206 and len(decided.spans) > 1:
        parts = parse_multipart(headers["content-type"].encode(), body)
        assert [part.get_payload(decode=True) for part in parts] == slices
    else:
        assert body == b"".join(slices)
