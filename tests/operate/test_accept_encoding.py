"""Which coding a request gets, and what that changes in the headers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.accept_encoding import (
    add_vary,
    code_headers,
    coded_etag,
    compressible,
    forbids_transform,
    negotiate,
    split_etag,
)

ALL = ("zstd", "br", "gzip")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        pytest.param(None, None, id="no field: a client that decodes nothing"),
        pytest.param("", None, id="an empty field wants no coding"),
        pytest.param("gzip", "gzip", id="one coding"),
        pytest.param("GZip", "gzip", id="in any case"),
        pytest.param("x-gzip", "gzip", id="an old name of gzip"),
        pytest.param("gzip, deflate, br, zstd", "zstd", id="a browser's: our order decides"),
        pytest.param("gzip;q=1.0, br;q=0.9", "gzip", id="the higher weight wins"),
        pytest.param("gzip ; q=0.5 ,\tbr\t;\tq=0.6", "br", id="spaces and tabs anywhere"),
        pytest.param("gzip;Q=0.5, br;q=0.4", "gzip", id="the q in any case"),
        pytest.param("gzip;q=0", None, id="a weight of 0 is a no"),
        pytest.param("gzip;q=0.000", None, id="so it is in any length"),
        pytest.param("zstd;q=0, *", "br", id="a star takes all but what is named"),
        pytest.param("*", "zstd", id="a star alone"),
        pytest.param("*;q=0", None, id="a star of 0 refuses all"),
        pytest.param("*;q=0, gzip;q=0.1", "gzip", id="all but one"),
        pytest.param("gzip, *;q=0", "gzip", id="the same the other way round"),
        pytest.param("*;q=0.1, gzip;q=0.5", "gzip", id="a star's weight counts"),
        pytest.param("identity", None, id="plain bytes alone"),
        pytest.param("identity;q=1, gzip;q=0.5", None, id="plain bytes wanted more"),
        pytest.param("identity;q=0.5, gzip;q=0.5", "gzip", id="as much: it is our choice"),
        pytest.param("identity;q=0, gzip;q=0.1", "gzip", id="plain bytes refused"),
        pytest.param("identity;q=0", None, id="nothing is left: plain bytes, no error"),
        pytest.param("deflate, compress", None, id="what we don't have"),
        pytest.param("gzip;q=0.5, gzip", "gzip", id="named twice"),
        pytest.param("gzip, gzip;q=0", None, id="named twice: a no is a no"),
        pytest.param("gzip;q=0, gzip", None, id="in either order"),
        pytest.param("gzip;q=x", None, id="a weight that is no number"),
        pytest.param("gzip;q=2", None, id="a weight above 1"),
        pytest.param("gzip;q=-1, br", "br", id="a broken member is left out"),
        pytest.param("gzip;level=9", None, id="codings have no parameters"),
        pytest.param("gzip;q=0.1234", "gzip", id="more digits than the grammar has"),
        pytest.param(",,gzip,,", "gzip", id="empty members"),
        pytest.param("gzip br", None, id="two words without a comma"),
        pytest.param("gz\u0131p", None, id="letters that only look like gzip"),
    ],
)
def test_a_request_gets_the_coding_it_wants(accepted: str | None, chosen: str | None) -> None:
    assert negotiate(accepted, ALL) == chosen


def test_nothing_is_chosen_that_is_not_offered() -> None:
    assert negotiate("zstd, gzip;q=0.1", ["gzip"]) == "gzip"
    assert negotiate("*", []) is None


@given(st.text(alphabet="gzipbrstd*;q=01.,- \tidenty", max_size=40), st.permutations(ALL))
def test_whatever_a_request_says_the_choice_is_one_it_names(text: str, offered: list[str]) -> None:
    chosen = negotiate(text, offered)
    assert chosen is None or chosen in offered
    assert chosen is None or chosen in text.lower() or "*" in text


@pytest.mark.parametrize(
    ("media_type", "shrinks"),
    [
        ("text/plain", True),
        ("text/event-stream; charset=utf-8", True),
        ("TEXT/HTML", True),
        ("application/json", True),
        ("application/x-ndjson", True),
        ("application/jsonl", True),
        ("application/json-seq", True),
        ("application/ld+json", True),
        ("application/problem+json", True),
        ("image/svg+xml", True),
        ("application/x-tar", True),
        ("application/wasm", True),
        ("font/ttf", True),
        ("font/woff2", False),
        ("image/png", False),
        ("video/mp4", False),
        ("application/pdf", False),
        ("application/zip", False),
        ("application/gzip", False),
        ("application/octet-stream", False),
        ("multipart/x-mixed-replace; boundary=json", False),
        ("text", False),
        ("text/", False),
        ("", False),
        (None, False),
    ],
)
def test_what_is_text_shrinks(media_type: str | None, shrinks: bool) -> None:
    assert compressible(media_type) is shrinks


@pytest.mark.parametrize(
    ("value", "forbidden"),
    [
        (None, False),
        ("no-cache", False),
        ("no-transform", True),
        ("max-age=60 , No-Transform", True),
        ("no-transform=1", True),
        ('private="no-transform"', False),
        ('private="a, no-transform, b"', False),
        ("not-no-transform", False),
    ],
)
def test_no_transform_is_found(value: str | None, forbidden: bool) -> None:
    assert forbids_transform(value) is forbidden


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "Accept-Encoding"),
        ("", "Accept-Encoding"),
        ("Origin", "Origin, Accept-Encoding"),
        ("accept-encoding", "accept-encoding"),
        ("Origin,Accept-Encoding", "Origin, Accept-Encoding"),
        ("*", "*"),
    ],
)
def test_vary_names_the_field_once(before: str | None, after: str) -> None:
    assert add_vary(before) == after


@pytest.mark.parametrize(
    ("etag", "coded", "weakened"),
    [
        ('"abc"', '"abc--gzip"', 'W/"abc--gzip"'),
        ('W/"abc"', 'W/"abc--gzip"', 'W/"abc--gzip"'),
        ('""', '"--gzip"', 'W/"--gzip"'),
    ],
)
def test_a_tag_is_coded_and_known_again(etag: str, coded: str, weakened: str) -> None:
    assert coded_etag(etag, "gzip") == coded
    assert coded_etag(etag, "gzip", weak=True) == weakened
    assert split_etag(coded) == (etag, "gzip")


@pytest.mark.parametrize(
    ("given", "sent"),
    [("v7", 'W/"v7--gzip"'), ("W/v7", 'W/"v7--gzip"'), ('"v7', None), ("v 7", None), ("", None)],
)
def test_a_tag_of_the_response_is_mended_before_it_is_coded_or_left_out(
    given: str, sent: str | None
) -> None:
    assert coded({**TEXT, "ETag": given}).get("etag") == sent


def test_a_tag_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="'abc' is not an entity tag"):
        coded_etag("abc", "gzip")


@pytest.mark.parametrize("etag", ['"abc"', '"a--b"', '"a-gzip"', "abc--gzip", "*"])
def test_a_tag_without_a_coding_is_left_alone(etag: str) -> None:
    assert split_etag(etag) == (etag, None)


def coded(own: dict[str, str], accepted: str | None = "gzip", **options: object) -> dict[str, str]:
    request = [] if accepted is None else [(b"Accept-Encoding", accepted.encode())]
    raw = [(name.encode(), value.encode()) for name, value in own.items()]
    coding, headers = code_headers(request, raw, ALL, **options)  # type: ignore[arg-type]
    result = {name.decode(): value.decode() for name, value in headers}
    assert len(result) == len(headers)
    assert result.get("content-encoding") == coding or "content-encoding" in own
    return result


TEXT = {"content-type": "text/plain"}


def test_the_headers_of_a_coded_body() -> None:
    plain = {
        **TEXT,
        "Content-Length": "100",
        "accept-ranges": "bytes",
        "repr-digest": "sha-256=:x:",
        "etag": '"abc"',
        "vary": "Origin",
        "x-other": "stays",
    }
    assert coded(plain) == {
        **TEXT,
        "content-encoding": "gzip",
        "accept-ranges": "none",
        "etag": 'W/"abc--gzip"',
        "vary": "Origin, Accept-Encoding",
        "x-other": "stays",
    }
    assert coded(plain, weak=False)["etag"] == '"abc--gzip"'


@pytest.mark.parametrize("accepted", [None, "gzip;q=0", "identity"])
def test_a_body_that_could_have_been_coded_varies(accepted: str | None) -> None:
    own = {**TEXT, "content-length": "100", "etag": '"abc"'}
    assert coded(own, accepted) == {**own, "vary": "Accept-Encoding"}


@pytest.mark.parametrize(
    ("own", "options"),
    [
        pytest.param({**TEXT, "content-encoding": "br"}, {}, id="coded already"),
        pytest.param({**TEXT, "content-encoding": "identity"}, {}, id="said to be plain"),
        pytest.param({**TEXT, "cache-control": "no-transform"}, {}, id="not to be transformed"),
        pytest.param({**TEXT, "content-range": "bytes 0-1/2"}, {}, id="a part"),
        pytest.param({"content-type": "image/png"}, {}, id="doesn't shrink"),
        pytest.param({"content-type": "image/png"}, {"media_type": "text/plain"}, id="own type"),
        pytest.param({}, {}, id="of no type"),
        pytest.param(TEXT, {"status": 204}, id="no content"),
        pytest.param(TEXT, {"status": 206}, id="parts"),
        pytest.param(TEXT, {"status": 304}, id="not modified"),
    ],
)
def test_what_is_not_to_be_coded_stays_as_it_is(
    own: dict[str, str], options: dict[str, object]
) -> None:
    assert coded(own, **options) == own


def test_the_type_of_a_source_counts_where_the_response_has_none() -> None:
    assert coded({}, media_type="text/csv")["content-encoding"] == "gzip"


def test_errors_are_coded_as_well() -> None:
    assert coded(TEXT, status=404)["content-encoding"] == "gzip"


def test_fields_sent_twice_are_joined() -> None:
    request = [(b"accept-encoding", b"gzip;q=0"), (b"accept-encoding", b"br")]
    own = [(b"content-type", b"text/plain"), (b"vary", b"A"), (b"vary", b"B")]
    coding, headers = code_headers(request, own, ALL)
    assert coding == "br"
    assert [value for name, value in headers if name == b"vary"] == [b"A, B, Accept-Encoding"]
