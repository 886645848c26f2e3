"""HTTP dates in their three formats (RFC 9110 §5.6.7)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

__all__ = ["format_http_date", "parse_http_date"]

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_SHORT = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = f"(?P<month>{'|'.join(_MONTHS)})"
_DAY = "(?P<day>[0-9]{2})"
_YEAR = "(?P<year>[0-9]{4})"
# A leap second can only be the last of a day in GMT.
_TIME = "(?P<time>(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]|23:59:60)"

_FORMATS = tuple(
    re.compile(pattern)
    for pattern in (
        f"{_SHORT}, {_DAY} {_MONTH} {_YEAR} {_TIME} GMT",
        f"{_LONG}, {_DAY}-{_MONTH}-(?P<year>[0-9]{{2}}) {_TIME} GMT",
        f"{_SHORT} {_MONTH} (?P<day>[0-9]{{2}}| [0-9]) {_TIME} {_YEAR}",
    )
)


def parse_http_date(value: str, *, now: datetime) -> datetime | None:
    """Parse an IMF-fixdate, an RFC 850 date or an asctime date; None for anything else.

    The result is aware and in UTC. `now` (aware) settles which century the two-digit year of an
    RFC 850 date belongs to. The names of days must be real ones, but are not held against the
    date: the grammar does not ask for it, and the century of an RFC 850 date is a guess anyway.
    """
    for pattern in _FORMATS:
        if found := pattern.fullmatch(value):
            return _moment(found, now)
    return None


def _moment(found: re.Match[str], now: datetime) -> datetime | None:
    month, day = _MONTHS.index(found["month"]) + 1, int(found["day"])
    hour, minute, second = map(int, found["time"].split(":"))
    year = int(found["year"])
    if len(found["year"]) == 2:
        year = _full_year(year, (month, day, hour, minute, second), now)
    try:
        # datetime has no second 60: like POSIX time, it becomes the first of the next day.
        return datetime(year, month, day, hour, minute, tzinfo=UTC) + timedelta(seconds=second)
    except (ValueError, OverflowError):
        return None


def _full_year(two_digits: int, rest: tuple[int, ...], now: datetime) -> int:
    """Give the latest year with these digits that is at most 50 years ahead (§5.6.7)."""
    today = now.utctimetuple()[:6]
    year = today[0] // 100 * 100 + 100 + two_digits
    # Fields are compared rather than datetimes: 50 years after a 29 February there is none.
    while (year - 50, *rest) > today:
        year -= 100
    return year


def format_http_date(moment: datetime) -> str:
    """Write an aware `datetime` as an IMF-fixdate; fractions of a second are cut off.

    Raises `ValueError` for a naive `datetime`.
    """
    if moment.utcoffset() is None:
        raise ValueError(
            f"an HTTP date needs a datetime with a time zone, got the naive {moment!r}; "
            "pass tzinfo=datetime.UTC, or call .astimezone() if it is local time"
        )
    return format_datetime(moment.astimezone(UTC), usegmt=True)
