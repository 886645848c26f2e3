"""CSV: one row for each item, written by the standard library's `csv` (RFC 4180)."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypedDict, Unpack, cast

from streamkit.encoders.charsets import Charset, find_charset
from streamkit.encoders.csvrows import (
    ERROR,
    Fit,
    Misfit,
    Read,
    named_reader,
    names_of,
    sequence_reader,
)
from streamkit.encoders.formulas import formula_guard

__all__ = ["CSVDialect", "CSVEncoder"]

Guard = Callable[[Iterable[object]], Iterable[object]]
Write = Callable[[Iterable[object]], bytes]

# Types of most cells, which are quickly told from bytes.
_PLAIN = frozenset({str, int, float, bool, type(None)})


class CSVDialect(TypedDict, total=False):
    """The formatting options of `csv.writer`; its defaults are RFC 4180's."""

    delimiter: str
    quotechar: str | None
    escapechar: str | None
    doublequote: bool
    lineterminator: str
    quoting: int


class CSVEncoder:
    """Encodes rows as CSV (RFC 4180), by default UTF-8 with CR LF line ends.

    A row is a mapping, a dataclass, a pydantic model (as its `model_dump` by alias), a named tuple
    or another row with names and positions (SQLAlchemy's `Row`, `sqlite3.Row`, `asyncpg.Record`),
    or any other sequence. The cells of rows are read by position. Cells are what `csv.writer` makes
    of them: nothing for `None`, a `str` (an enum's too) as the text it is, else `str()`; bytes are
    refused.

    * `columns`: the names of the columns, in order; by default the first row's. Plain sequences
      have no names, so without `columns` they get no header.
    * `header=False` leaves the header out. A stream without rows still gives that of `columns`.
    * `missing`: the cell to write where a row has none for a column; by default that is an error.
    * `extra="ignore"` leaves out the cells for which there is no column, instead of an error.
    * `excel=True` starts with a byte order mark, without which Excel misreads UTF-8.
    * `escape_formulas=True` makes text inert that a spreadsheet might run (OWASP, CSV injection):
      an apostrophe stands before `=`, `+`, `-`, `@` (or their full-width forms) where a cell
      begins, at the start of the text and behind a comma, semicolon, bar, tab or line break in it,
      and before a tab or line break at its start. Numbers stay as they are.
    * `charset` ("utf-8"): any that Python has a codec for. UTF-16 and UTF-32 start with their mark.
      A lone surrogate becomes U+FFFD in Unicode's charsets.
    * `unencodable="replace"` writes a question mark for what another charset has no place for,
      instead of an error.

    Named cells may come in any order. `encode` raises `ValueError` for a row that does not fit,
    and `TypeError` for an item that is no row and for a cell of bytes; each names the row.

    >>> rows = CSVEncoder()
    >>> rows.encode({"id": 1, "name": "a, b"}) + rows.encode({"name": None, "id": 2})
    b'id,name\\r\\n1,"a, b"\\r\\n2,\\r\\n'
    """

    __slots__ = (
        "_charset",
        "_columns",
        "_count",
        "_fit",
        "_header",
        "_lenient",
        "_quick_look",
        "_readers",
        "_start",
        "_width",
        "_write",
    )

    def __init__(
        self,
        columns: Sequence[str] | None = None,
        *,
        excel: bool = False,
        escape_formulas: bool = False,
        header: bool = True,
        missing: object = ERROR,
        extra: Literal["error", "ignore"] = "error",
        charset: str = "utf-8",
        unencodable: Literal["error", "replace"] = "error",
        **dialect: Unpack[CSVDialect],
    ) -> None:
        if unencodable not in ("error", "replace"):
            raise ValueError(f"unencodable must be 'error' or 'replace', got {unencodable!r}")
        self._charset = find_charset(charset)
        strict, lenient = _files(self._charset, unencodable)
        guard = formula_guard(dialect, self._charset.codec) if escape_formulas else None
        self._write = _row_writer(strict, dialect, guard)
        self._lenient = _row_writer(lenient, dialect, guard)
        # Other charsets may write an apostrophe in another way.
        self._quick_look = self._charset.codec == "utf-8"
        self._header = header
        self._fit = Fit(missing, extra)
        self._readers: dict[type, Read] = {}
        self._count = 0
        self._start = _mark(self._charset) if excel else self._charset.start
        self._columns: tuple[Any, ...] | None = None
        self._width = -1
        if isinstance(columns, str):
            raise TypeError(f"columns must be a sequence of names, got the str {columns!r:.60}")
        if columns is not None:
            self._width = self._set_columns(tuple(columns))

    def encode(self, item: object, /) -> bytes:
        """The line of one row, behind the header if it is the first."""
        self._count += 1
        read = self._readers.get(type(item))
        try:
            row = read(item) if read else self._reader_for(item)(item)
            try:
                line = self._write(row)
            except UnicodeEncodeError:
                line = self._lenient(row)
        except UnicodeEncodeError as exc:
            raise self._refusal(exc, f"CSV row {self._count}") from exc
        except (Misfit, csv.Error) as exc:
            raise ValueError(f"CSV row {self._count} {exc}") from exc
        # bytes are shown with an apostrophe, a memoryview with "<": other lines need no look.
        if (
            (39 in line or 60 in line or not self._quick_look)
            and not _PLAIN.issuperset(map(type, row))
            and any(isinstance(cell, bytes | bytearray | memoryview) for cell in row)
        ):
            raise TypeError(f"CSV row {self._count} has a cell of bytes; decode it to str first")
        if self._start:
            line, self._start = self._start + line, b""
        return line

    def finish(self) -> bytes:
        """What no row has brought: the byte order mark, and the header of `columns`."""
        start, self._start = self._start, b""
        return start

    def _set_columns(self, columns: tuple[Any, ...]) -> int:
        if self._header:
            try:
                self._start += self._lenient(columns)
            except UnicodeEncodeError as exc:
                raise self._refusal(exc, "the CSV header") from exc
        self._columns = columns
        return len(columns)

    def _reader_for(self, item: Any) -> Read:
        names = names_of(item)
        if self._width < 0:
            self._width = len(item) if names is None else self._set_columns(names)
        if names is None:
            reader = sequence_reader(self._width, self._fit)
        elif self._columns is None:
            raise Misfit("has named cells and the rows before it had none; pass columns")
        else:
            reader = named_reader(item, self._columns, self._fit)
        self._readers[type(item)] = reader
        return reader

    def _refusal(self, exc: UnicodeEncodeError, where: str) -> ValueError:
        return ValueError(
            f"{where} has {exc.object[exc.start : exc.end]!r:.60}, for which the charset "
            f"{self._charset.name} has no place; pass unencodable='replace', or choose 'utf-8'"
        )


class _Bytes:
    """The file of a `csv.writer`, whose `writerow` returns what this `write` returns: bytes."""

    def __init__(self, write: Callable[[str], bytes]) -> None:
        self.write = write


def _files(charset: Charset, unencodable: Literal["error", "replace"]) -> tuple[_Bytes, _Bytes]:
    """Two functions: a fast one that may fail, and the one that is asked then."""
    codec = charset.codec
    # The method itself costs a third less than a function around it.
    quick = str.encode if codec == "utf-8" else lambda text: text.encode(codec)
    return _Bytes(quick), _Bytes(lambda text: charset.encode(text, unencodable))


def _row_writer(file: _Bytes, dialect: CSVDialect, guard: Guard | None) -> Write:
    end: Any = dialect.get("lineterminator", "\r\n")
    if isinstance(end, str) and (unquoted := "".join({*"\r\n"}.difference(end))):
        # CR and LF are quoted (RFC 4180 §2.6). Before Python 3.13 `csv` quotes those of the end
        # alone, so that it is given both, and what it writes of them is cut off.
        dialect = {**dialect, "lineterminator": end + unquoted}
        write_text = file.write
        file = _Bytes(lambda text: write_text(text[: -len(unquoted)]))
    # Which values of `quoting` there are depends on the version of Python.
    write: Write = csv.writer(cast(Any, file), **cast(Any, dialect)).writerow
    return write if guard is None else lambda row: write(guard(row))


def _mark(charset: Charset) -> bytes:
    if charset.mark is None:
        raise ValueError(
            f"excel=True starts the text with a byte order mark, which the charset "
            f"{charset.name!r} does not have; leave one of them out"
        )
    return charset.mark
