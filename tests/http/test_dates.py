from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.http.dates import format_http_date, parse_http_date

NOW = datetime(2026, 6, 15, 12, 0, 0, tzinfo=UTC)
DUSK = datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
RFC850_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

moments = st.datetimes(
    min_value=datetime(1000, 1, 1), max_value=datetime(9999, 12, 30), timezones=st.just(UTC)
).map(lambda moment: moment.replace(microsecond=0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT", DUSK, id="IMF-fixdate"),
        pytest.param("Sunday, 06-Nov-94 08:49:37 GMT", DUSK, id="RFC 850"),
        pytest.param("Sun Nov  6 08:49:37 1994", DUSK, id="asctime with a padded day"),
        pytest.param("Sun Nov 06 08:49:37 1994", DUSK, id="asctime with two digits"),
        pytest.param("Mon, 06 Nov 1994 08:49:37 GMT", DUSK, id="the day's name is not checked"),
        pytest.param(
            "Thu, 29 Feb 2024 00:00:00 GMT", datetime(2024, 2, 29, tzinfo=UTC), id="leap day"
        ),
        pytest.param(
            "Sat, 31 Dec 2016 23:59:60 GMT",
            datetime(2017, 1, 1, tzinfo=UTC),
            id="a leap second is the first of the next day",
        ),
    ],
)
def test_each_of_the_three_formats_is_read(value: str, expected: datetime) -> None:
    assert parse_http_date(value, now=NOW) == expected


@pytest.mark.parametrize(
    "value",
    [
        pytest.param("", id="nothing"),
        pytest.param("0", id="a number, as Expires often has"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 UTC", id="UTC for GMT"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 +0000", id="an offset"),
        pytest.param("Sun, 06 Nov 1994 08:49:37", id="no zone"),
        pytest.param("sun, 06 nov 1994 08:49:37 gmt", id="the wrong case"),
        pytest.param("Sun, 6 Nov 1994 08:49:37 GMT", id="one digit for the day"),
        pytest.param("Sun,  06 Nov 1994 08:49:37 GMT", id="two spaces"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT ", id="a space at the end"),
        pytest.param("Sun, 06 Nov 1994 08:49:37 GMT\n", id="a newline at the end"),
        pytest.param("Sun, 06-Nov-1994 08:49:37 GMT", id="Netscape's format"),
        pytest.param("Sun, 06-Nov-94 08:49:37 GMT", id="RFC 850 with a short day"),
        pytest.param("Nonday, 06-Nov-94 08:49:37 GMT", id="no such day"),
        pytest.param("Sun, 06 Nob 1994 08:49:37 GMT", id="no such month"),
        pytest.param("Sun, 30 Feb 1994 08:49:37 GMT", id="30 February"),
        pytest.param("Tue, 29 Feb 2100 08:49:37 GMT", id="2100 has no leap day"),
        pytest.param("Sun, 00 Nov 1994 08:49:37 GMT", id="day 0"),
        pytest.param("Sun, 06 Nov 0000 08:49:37 GMT", id="year 0"),
        pytest.param("Sun, 06 Nov 1994 24:00:00 GMT", id="hour 24"),
        pytest.param("Sun, 06 Nov 1994 08:60:00 GMT", id="minute 60"),
        pytest.param("Sun, 06 Nov 1994 08:49:60 GMT", id="second 60 in the middle of a day"),
        pytest.param("Fri, 31 Dec 9999 23:59:60 GMT", id="a leap second past the last year"),
        pytest.param("Sun, ٠٦ Nov 1994 08:49:37 GMT", id="digits that are not ASCII"),
        pytest.param("Sun Nov 6 08:49:37 1994", id="asctime without padding"),
    ],
)
def test_anything_else_is_no_date(value: str) -> None:
    assert parse_http_date(value, now=NOW) is None


@pytest.mark.parametrize(
    ("value", "now", "year"),
    [
        pytest.param("15-Jun-76 12:00:00", NOW, 2076, id="50 years ahead to the second"),
        pytest.param("15-Jun-76 12:00:01", NOW, 1976, id="a second more is past"),
        pytest.param("01-Jan-26 00:00:00", NOW, 2026, id="this year"),
        pytest.param("01-Jan-00 00:00:00", NOW, 2000, id="the turn of this century"),
        pytest.param("01-Jan-05 00:00:00", NOW.replace(year=2099), 2105, id="the next century"),
        pytest.param("29-Feb-74 12:00:00", NOW.replace(year=2024), None, id="no such day then"),
        pytest.param("15-Jun-76 12:00:00", NOW.astimezone(timezone(timedelta(hours=9))), 2076,
                     id="now in another time zone"),
    ],
)  # fmt: skip
def test_a_two_digit_year_is_at_most_50_years_ahead(
    value: str, now: datetime, year: int | None
) -> None:
    moment = parse_http_date(f"Monday, {value} GMT", now=now)
    assert (moment and moment.year) == year


def test_a_date_is_written_in_gmt_and_cut_to_the_second() -> None:
    moment = datetime(1994, 11, 6, 10, 49, 37, 999_999, timezone(timedelta(hours=2)))
    assert format_http_date(moment) == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_a_naive_datetime_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"naive datetime.datetime\(2024, 1, 1.*tzinfo"):
        format_http_date(datetime(2024, 1, 1))


@given(moments)
def test_what_is_written_is_read_back(moment: datetime) -> None:
    assert parse_http_date(format_http_date(moment), now=NOW) == moment


@given(moments)
def test_an_asctime_date_is_read_back(moment: datetime) -> None:
    assert parse_http_date(moment.ctime(), now=NOW) == moment


@given(moments, moments)
def test_a_two_digit_year_is_the_latest_not_too_far_ahead(moment: datetime, now: datetime) -> None:
    day, rest = RFC850_DAYS[moment.weekday()], format_http_date(moment)[5:]
    value = f"{day}, {rest[:2]}-{rest[3:6]}-{rest[9:11]}{rest[11:]}"
    found = parse_http_date(value, now=now)
    if found is not None:
        assert found.year % 100 == moment.year % 100
        assert (found.year - 50, *found.timetuple()[1:6]) <= now.timetuple()[:6]
        assert (found.year + 50, *found.timetuple()[1:6]) > now.timetuple()[:6]


@given(st.text())
def test_no_text_makes_it_raise(value: str) -> None:
    parse_http_date(value, now=NOW)
