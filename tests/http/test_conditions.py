from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.conditions import (
    Decision,
    EntityTag,
    TagList,
    Validators,
    collect_fields,
    evaluate,
    parse_etag,
    parse_etags,
    range_applies,
)
from streamkit.http.dates import format_http_date

NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)
MODIFIED = datetime(2026, 6, 1, 12, 0, 0, 750_000, tzinfo=UTC)
SAME = "Mon, 01 Jun 2026 12:00:00 GMT"
BEFORE = "Mon, 01 Jun 2026 11:59:59 GMT"
AFTER = "Mon, 01 Jun 2026 12:00:01 GMT"
STRONG, WEAK = '"v7"', 'W/"v7"'

GO_ON, HELD, FAILED = Decision.PROCEED, Decision.NOT_MODIFIED, Decision.PRECONDITION_FAILED


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        pytest.param('"v7"', EntityTag("v7"), id="strong"),
        pytest.param('W/"v7"', EntityTag("v7", weak=True), id="weak"),
        pytest.param('""', EntityTag(""), id="empty"),
        pytest.param('"a,b"', EntityTag("a,b"), id="a comma inside"),
        pytest.param('"a\\"', EntityTag("a\\"), id="a backslash escapes nothing"),
        pytest.param('"\xe9"', EntityTag("\xe9"), id="obs-text"),
        pytest.param('"*"', EntityTag("*"), id="a quoted star"),
        pytest.param(' "v7"\t', EntityTag("v7"), id="whitespace around it"),
        pytest.param("v7", None, id="no quotes"),
        pytest.param('"v7', None, id="no quote at the end"),
        pytest.param('w/"v7"', None, id="a small w"),
        pytest.param('W/ "v7"', None, id="a space after the slash"),
        pytest.param('"v 7"', None, id="a space inside"),
        pytest.param('"v\x7f"', None, id="a control character inside"),
        pytest.param('"v\u0100"', None, id="more than a byte inside"),
        pytest.param('"a", "b"', None, id="two tags"),
        pytest.param("*", None, id="a star"),
        pytest.param("", None, id="nothing"),
    ],
)
def test_one_entity_tag_is_parsed(value: str, tag: EntityTag | None) -> None:
    assert parse_etag(value) == tag


@pytest.mark.parametrize(
    ("value", "opaque"),
    [
        pytest.param('"a"', ["a"], id="one"),
        pytest.param('"a", W/"b","c"', ["a", "b", "c"], id="several"),
        pytest.param('"a,b" , "c"', ["a,b", "c"], id="a comma inside a tag"),
        pytest.param(',, "a",\t, "b" ,', ["a", "b"], id="empty members"),
        pytest.param("", [], id="nothing"),
        pytest.param(" , ", [], id="only commas"),
        pytest.param('"a" "b"', [], id="no comma between"),
        pytest.param('"a", b', [], id="one member that is malformed spoils the list"),
        pytest.param('"a", *', [], id="a star in a list"),
        pytest.param('"a', [], id="an open quote"),
        pytest.param("\t" * 5000 + "x", [], id="a run of whitespace"),
        pytest.param('"a"' + " " * 5000 + "x", [], id="a run of whitespace after a tag"),
    ],
)
def test_a_list_of_entity_tags_is_parsed(value: str, opaque: list[str]) -> None:
    parsed = parse_etags(value)
    assert [tag.opaque for tag in parsed.tags] == opaque
    assert not parsed.anything


def test_a_star_matches_even_what_has_no_tag() -> None:
    star = parse_etags(" * ")
    assert star == TagList(anything=True)
    assert star.strongly_matches(None)
    assert star.weakly_matches(None)


@pytest.mark.parametrize(
    ("one", "other", "strongly", "weakly"),
    [
        pytest.param('W/"1"', 'W/"1"', False, True, id="both weak"),
        pytest.param('W/"1"', 'W/"2"', False, False, id="both weak, not the same"),
        pytest.param('W/"1"', '"1"', False, True, id="one weak"),
        pytest.param('"1"', 'W/"1"', False, True, id="the other weak"),
        pytest.param('"1"', '"1"', True, True, id="both strong"),
        pytest.param('"1"', '"2"', False, False, id="both strong, not the same"),
    ],
)
def test_tags_compare_as_rfc_9110_tabulates(
    one: str, other: str, strongly: bool, weakly: bool
) -> None:
    first, second = parse_etag(one), parse_etag(other)
    assert first is not None
    assert second is not None
    assert first.strongly_equals(second) is strongly
    assert first.weakly_equals(second) is weakly


tags = st.builds(EntityTag, st.text(st.characters(codec="latin-1", exclude_characters='" \xa0',
                 exclude_categories=["Cc"])), st.booleans())  # fmt: skip


@given(st.lists(tags), st.sampled_from([",", ", ", " ,\t", ",,"]))
def test_a_list_of_tags_reads_back(listed: list[EntityTag], comma: str) -> None:
    assert parse_etags(comma.join(map(str, listed))) == TagList(tuple(listed))


@given(st.text() | st.text('W/"a, *'))
def test_no_text_makes_the_parsers_raise(value: str) -> None:
    parse_etag(value)
    parse_etags(value)


@pytest.mark.parametrize("etag", ["v7", "", "*", '"a" ,', '"a\r\nb"'])
def test_a_validator_that_is_no_entity_tag_is_refused(etag: str) -> None:
    with pytest.raises(ValueError, match=r"is not an entity tag: RFC 9110.*write"):
        Validators.of(etag, None)


def test_a_naive_date_is_refused() -> None:
    with pytest.raises(ValueError, match=r"naive datetime.*tzinfo=datetime.UTC"):
        Validators.of(None, datetime(2026, 1, 1))


def test_a_date_is_cut_to_the_second_in_utc() -> None:
    east = MODIFIED.astimezone(timezone(timedelta(hours=2)))
    assert Validators.of(None, east).last_modified == MODIFIED.replace(microsecond=0)


def test_fields_are_collected_without_regard_to_case_and_others_left() -> None:
    headers = [(b"If-None-Match", b'"a"'), (b"host", b"x"), (b"RANGE", b"bytes=0-"),
               (b"if-none-match", b'"b\xe9"')]  # fmt: skip
    assert collect_fields(headers) == {"if-none-match": '"a", "b\xe9"', "range": "bytes=0-"}


@pytest.mark.parametrize(
    ("etag", "fields", "reading", "other"),
    [
        pytest.param(STRONG, {}, GO_ON, GO_ON, id="no condition"),
        pytest.param(STRONG, {"if-match": STRONG}, GO_ON, GO_ON, id="If-Match hits"),
        pytest.param(STRONG, {"if-match": '"a", "v7"'}, GO_ON, GO_ON, id="If-Match hits in a list"),
        pytest.param(STRONG, {"if-match": '"v8"'}, FAILED, FAILED, id="If-Match misses"),
        pytest.param(STRONG, {"if-match": WEAK}, FAILED, FAILED, id="If-Match compares strongly"),
        pytest.param(WEAK, {"if-match": WEAK}, FAILED, FAILED, id="If-Match with both weak"),
        pytest.param(None, {"if-match": STRONG}, FAILED, FAILED, id="If-Match where is no tag"),
        pytest.param(None, {"if-match": "*"}, GO_ON, GO_ON, id="If-Match star"),
        pytest.param(STRONG, {"if-match": "v7"}, FAILED, FAILED, id="If-Match malformed"),
        pytest.param(STRONG, {"if-match": ""}, FAILED, FAILED, id="If-Match empty"),
        pytest.param(STRONG, {"if-unmodified-since": SAME}, GO_ON, GO_ON, id="not since"),
        pytest.param(STRONG, {"if-unmodified-since": AFTER}, GO_ON, GO_ON, id="long before"),
        pytest.param(STRONG, {"if-unmodified-since": BEFORE}, FAILED, FAILED, id="modified since"),
        pytest.param(STRONG, {"if-unmodified-since": "yesterday"}, GO_ON, GO_ON, id="no date"),
        pytest.param(STRONG, {"if-match": STRONG, "if-unmodified-since": BEFORE}, GO_ON, GO_ON,
                     id="If-Match puts If-Unmodified-Since out of force"),
        pytest.param(STRONG, {"if-none-match": STRONG}, HELD, FAILED, id="If-None-Match hits"),
        pytest.param(STRONG, {"if-none-match": WEAK}, HELD, FAILED, id="it compares weakly"),
        pytest.param(WEAK, {"if-none-match": STRONG}, HELD, FAILED, id="from either side"),
        pytest.param(STRONG, {"if-none-match": '"a,b", "v7"'}, HELD, FAILED, id="hits in a list"),
        pytest.param(STRONG, {"if-none-match": '"v8"'}, GO_ON, GO_ON, id="If-None-Match misses"),
        pytest.param(None, {"if-none-match": STRONG}, GO_ON, GO_ON, id="there is no tag to hit"),
        pytest.param(None, {"if-none-match": "*"}, HELD, FAILED, id="If-None-Match star"),
        pytest.param(STRONG, {"if-none-match": "v7"}, GO_ON, GO_ON, id="If-None-Match malformed"),
        pytest.param(STRONG, {"if-modified-since": SAME}, HELD, GO_ON, id="not modified since"),
        pytest.param(STRONG, {"if-modified-since": AFTER}, HELD, GO_ON, id="a later date"),
        pytest.param(STRONG, {"if-modified-since": BEFORE}, GO_ON, GO_ON, id="modified meanwhile"),
        pytest.param(STRONG, {"if-modified-since": "0"}, GO_ON, GO_ON, id="since no date"),
        pytest.param(STRONG, {"if-modified-since": f"{SAME}, {SAME}"}, GO_ON, GO_ON, id="twice"),
        pytest.param(STRONG, {"if-modified-since": "Mon Jun  1 12:00:00 2026"}, HELD, GO_ON,
                     id="asctime"),
        pytest.param(STRONG, {"if-modified-since": "Monday, 01-Jun-26 12:00:00 GMT"}, HELD, GO_ON,
                     id="RFC 850"),
        pytest.param(STRONG, {"if-none-match": '"v8"', "if-modified-since": SAME}, GO_ON, GO_ON,
                     id="If-None-Match puts If-Modified-Since out of force"),
        pytest.param(STRONG, {"if-none-match": "v7", "if-modified-since": SAME}, GO_ON, GO_ON,
                     id="even a malformed one"),
        pytest.param(STRONG, {"if-match": '"v8"', "if-none-match": STRONG}, FAILED, FAILED,
                     id="If-Match is judged before If-None-Match"),
        pytest.param(STRONG, {"if-match": STRONG, "if-none-match": STRONG}, HELD, FAILED,
                     id="If-None-Match is judged when If-Match held"),
        pytest.param(STRONG, {"if-unmodified-since": BEFORE, "if-modified-since": AFTER},
                     FAILED, FAILED, id="If-Unmodified-Since before If-Modified-Since"),
        pytest.param(STRONG, {"if-range": STRONG, "range": "bytes=0-"}, GO_ON, GO_ON,
                     id="If-Range is another matter"),
    ],
)  # fmt: skip
def test_preconditions_are_judged_in_order(
    etag: str | None, fields: dict[str, str], reading: Decision, other: Decision
) -> None:
    validators = Validators.of(etag, MODIFIED)
    decisions = [
        evaluate(method, fields, validators, now=NOW)
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS")
    ]
    assert decisions == [reading, reading, other, other, GO_ON]


@pytest.mark.parametrize("name", ["if-modified-since", "if-unmodified-since"])
def test_dates_count_for_nothing_where_no_date_is_known(name: str) -> None:
    assert evaluate("GET", {name: BEFORE}, Validators.of(STRONG, None), now=NOW) is GO_ON


@pytest.mark.parametrize(
    ("etag", "value", "applies"),
    [
        pytest.param(STRONG, None, True, id="no If-Range"),
        pytest.param(STRONG, STRONG, True, id="the same strong tag"),
        pytest.param(STRONG, '"v8"', False, id="another tag"),
        pytest.param(STRONG, WEAK, False, id="a weak tag in the request"),
        pytest.param(WEAK, STRONG, False, id="a weak tag here"),
        pytest.param(WEAK, WEAK, False, id="both weak"),
        pytest.param(None, STRONG, False, id="no tag here"),
        pytest.param(STRONG, f"{STRONG}, {STRONG}", False, id="a list is not allowed"),
        pytest.param(STRONG, "*", False, id="nor a star"),
        pytest.param(STRONG, SAME, True, id="the same date"),
        pytest.param(None, "Mon Jun  1 12:00:00 2026", True, id="in another format"),
        pytest.param(STRONG, AFTER, False, id="a later date is not the same"),
        pytest.param(STRONG, BEFORE, False, id="an earlier date is not the same"),
        pytest.param(STRONG, "soon", False, id="neither tag nor date"),
        pytest.param(STRONG, "", False, id="nothing"),
    ],
)
def test_a_range_applies_to_the_same_version_only(
    etag: str | None, value: str | None, applies: bool
) -> None:
    fields = {} if value is None else {"if-range": value}
    assert range_applies(fields, Validators.of(etag, MODIFIED), now=NOW) is applies


def test_a_date_applies_nowhere_where_no_date_is_known() -> None:
    assert not range_applies({"if-range": SAME}, Validators.of(STRONG, None), now=NOW)


@pytest.mark.parametrize(
    ("age", "applies"),
    [
        pytest.param(timedelta(seconds=1), True, id="its second is over"),
        pytest.param(timedelta(milliseconds=999), False, id="its second still runs"),
        pytest.param(timedelta(seconds=-60), False, id="it lies ahead"),
    ],
)
def test_a_date_is_strong_once_its_second_is_over(age: timedelta, applies: bool) -> None:
    validators = Validators.of(None, MODIFIED)
    assert validators.last_modified is not None
    fields = {"if-range": format_http_date(MODIFIED)}
    assert range_applies(fields, validators, now=validators.last_modified + age) is applies
