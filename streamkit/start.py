"""The status and headers that a content decides on when it begins."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["ResponseStart", "merge_headers"]

Raw = list[tuple[bytes, bytes]]


class ResponseStart:
    """The very first item of a content: the status and headers of its response.

    For values that are known only when the content begins: a file name, a count, a cookie. It is
    no part of the body. `status_code` None keeps the response's own. A header replaces those of
    the same name. Works in sync and async content, in every format, as long as the headers are not
    out: let the response wait for it with a large `first_chunk_timeout`. Raises `TypeError` for a
    status that is no number and a header that is no `str`, `ValueError` for one beyond Latin-1; a
    later `ResponseStart` is an error, which cuts the response.

        async def rows():
            cursor = await query()
            yield ResponseStart(headers={"X-Total-Count": str(cursor.rowcount)})
    """

    __slots__ = ("headers", "status_code")

    def __init__(
        self, status_code: int | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        if status_code is not None and (
            isinstance(status_code, bool) or not isinstance(status_code, int)
        ):
            raise TypeError(f"status_code must be a number, got {status_code!r}")
        self.status_code: int | None = status_code
        self.headers: dict[str, str] = dict(headers or {})
        for name, value in self.headers.items():
            _check(name, value)

    def __repr__(self) -> str:
        return f"ResponseStart({self.status_code!r}, {self.headers!r})"


def _check(name: object, value: object) -> None:
    for each in (name, value):
        if not isinstance(each, str):
            raise TypeError(
                f"the header {name!r} must be str, got {type(each).__name__}: {each!r:.80}; "
                f"pass str(...) of it"
            )
        try:
            str.encode(each, "latin-1")
        except UnicodeEncodeError:
            raise ValueError(
                f"the header {name!r} has a character beyond Latin-1: {each!r:.80}; a file name is "
                f"sent as filename*=UTF-8'' with quote(name, safe='') of urllib.parse behind it"
            ) from None


def merge_headers(own: Raw, start: ResponseStart) -> Raw:
    """The response's headers, with those of the start in place of the same names."""
    given = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in start.headers.items()
    ]
    replaced = {name for name, _ in given}
    return [*(pair for pair in own if pair[0].lower() not in replaced), *given]
