"""CSV: one row for each item, written by the standard library's `csv` (RFC 4180)."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Number
from operator import attrgetter, itemgetter
from typing import Any, TypedDict, Unpack, cast

from pydantic import BaseModel

__all__ = ["CSVDialect", "CSVEncoder"]

Columns = tuple[Any, ...]
Read = Callable[[Any], Sequence[object]]
Write = Callable[[Iterable[object]], bytes]

_BOM = b"\xef\xbb\xbf"
_BYTES_LIKE = frozenset({bytes, bytearray, memoryview})
_FORMULA_STARTS = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NEVER_FORMULAS = frozenset({int, float, bool, type(None)})


class CSVDialect(TypedDict, total=False):
    """The formatting options of `csv.writer`; its defaults are RFC 4180's."""

    delimiter: str
    quotechar: str | None
    escapechar: str | None
    doublequote: bool
    lineterminator: str
    quoting: int


class CSVEncoder:
    """Encodes rows as CSV (RFC 4180), UTF-8 with CR LF line ends.

    A row is a dict or other mapping, a dataclass, a pydantic model (as its `model_dump` by alias),
    a named tuple, a `sqlite3.Row`, or any other sequence. Cells are what `csv.writer` makes of
    them: nothing for `None`, else `str()`, with U+FFFD for a lone surrogate; bytes are refused.

    * `columns`: the names of the columns, in order; by default the first row's. Plain sequences
      have no names, so without `columns` they get no header.
    * `header=False` leaves the header out. A stream without rows still gives that of `columns`.
    * `excel=True` starts with a byte order mark, without which Excel misreads UTF-8.
    * `escape_formulas=True` puts an apostrophe before text that starts with `=`, `+`, `-`, `@`, a
      tab, CR or LF (or a full-width sign), since a spreadsheet might run it (OWASP, CSV
      injection). Numbers stay as they are.

    Every row must have exactly the columns, named ones in any order: `encode` raises `ValueError`
    otherwise, and `TypeError` for an item that is no row and for a cell of bytes.

    >>> rows = CSVEncoder()
    >>> rows.encode({"id": 1, "name": "a, b"}) + rows.encode({"name": None, "id": 2})
    b'id,name\\r\\n1,"a, b"\\r\\n2,\\r\\n'
    """

    __slots__ = (
        "_columns",
        "_count",
        "_header",
        "_lenient",
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
        **dialect: Unpack[CSVDialect],
    ) -> None:
        self._write = _row_writer(_Bytes(), dialect, escape_formulas)
        self._lenient = _row_writer(_LenientBytes(), dialect, escape_formulas)
        self._header = header
        self._readers: dict[type, Read] = {}
        self._count = 0
        self._start = _BOM if excel else b""
        self._columns: Columns | None = None
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
        except (_Misfit, csv.Error) as exc:
            raise ValueError(f"CSV row {self._count} {exc}") from exc
        # bytes are shown with an apostrophe, a memoryview with "<": other lines need no look.
        if (39 in line or 60 in line) and not _BYTES_LIKE.isdisjoint(map(type, row)):
            raise TypeError(f"CSV row {self._count} has a cell of bytes; decode it to str first")
        if self._start:
            line, self._start = self._start + line, b""
        return line

    def finish(self) -> bytes:
        """What no row has brought: the mark of `excel` and the header of `columns`."""
        start, self._start = self._start, b""
        return start

    def _set_columns(self, columns: Columns) -> int:
        self._columns = columns
        if self._header:
            self._start += self._lenient(columns)
        return len(columns)

    def _reader_for(self, item: Any) -> Read:
        names = _names(item)
        if self._width < 0:
            self._width = len(item) if names is None else self._set_columns(names)
        if names is None:
            reader = _sequence_reader(self._width)
        elif self._columns is None:
            raise _Misfit("has named cells and the rows before it had none; pass columns")
        else:
            reader = _named_reader(item, self._columns)
        self._readers[type(item)] = reader
        return reader


class _Bytes:
    """The file of a `csv.writer`, whose `writerow` returns what this `write` returns: bytes."""

    write = staticmethod(str.encode)


class _LenientBytes:
    """The same for text with lone surrogates, which have no UTF-8."""

    @staticmethod
    def write(text: str) -> bytes:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _row_writer(file: object, dialect: CSVDialect, escape_formulas: bool) -> Write:
    # Which values of `quoting` there are depends on the version of Python.
    write: Write = csv.writer(cast(Any, file), **cast(Any, dialect)).writerow
    return (lambda row: write(_without_formulas(row))) if escape_formulas else write


class _Misfit(ValueError):
    """A row does not have the columns; says how, and what to do, after "CSV row 1"."""


def _names(item: object) -> Columns | None:
    """The names of a row's cells, `None` for a sequence without names."""
    values = item.model_dump(by_alias=True) if isinstance(item, BaseModel) else item
    if isinstance(values, Mapping):
        return tuple(values)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        return tuple(field.name for field in dataclasses.fields(item))
    if isinstance(item, Sequence) and not isinstance(item, (str, bytes, bytearray, memoryview)):
        keys = getattr(item, "keys", None)
        return getattr(item, "_fields", None) if keys is None else tuple(keys())
    raise TypeError(
        f"a CSV row must be a mapping, a sequence, a dataclass or a pydantic model, got "
        f"{type(item).__name__}: {item!r:.60}; for text that is CSV already use "
        f"StreamingResponse with media_type='text/csv'"
    )


def _sequence_reader(width: int) -> Read:
    def read(row: Sequence[object]) -> Sequence[object]:
        if len(row) != width:
            raise _Misfit(f"has {len(row)} cells instead of {width}; fill up with None")
        return row

    return read


def _named_reader(item: object, columns: Columns) -> Read:
    if isinstance(item, BaseModel):
        read = _dict_reader(columns)
        return lambda model: read(model.model_dump(by_alias=True))
    if type(item) is dict:
        return _dict_reader(columns)
    if hasattr(item, "keys"):
        return _keyed_reader(columns)
    _check_names(_names(item) or (), columns)
    return _getter(attrgetter, columns)


def _dict_reader(columns: Columns) -> Read:
    get = _getter(itemgetter, columns)
    width = len(columns)

    def read(row: dict[object, object]) -> Sequence[object]:
        if len(row) == width:
            try:
                return get(row)
            except KeyError:
                pass
        raise _misfit(tuple(row), columns)

    return read


def _keyed_reader(columns: Columns) -> Read:
    get = _getter(itemgetter, columns)

    def read(row: Any) -> Sequence[object]:
        keys = tuple(row.keys())
        if keys == columns and isinstance(row, Sequence):
            return row  # by position: a query may well give two columns one name
        _check_names(keys, columns)
        return get(row)

    return read


def _check_names(names: Columns, columns: Columns) -> None:
    if len(names) != len(columns) or set(names) != set(columns):
        raise _misfit(names, columns)


def _misfit(names: Columns, columns: Columns) -> _Misfit:
    missing = [name for name in columns if name not in names]
    extra = [name for name in names if name not in columns]
    return _Misfit(
        f"lacks {missing} and has {extra} beside the columns {list(columns)}; make the rows alike, "
        f"for example {{name: row.get(name) for name in columns}}"
    )


def _getter(kind: Callable[..., Read], columns: Columns) -> Read:
    if len(columns) > 1:
        return kind(*columns)
    # With one name a getter returns the value itself, with none it cannot be made.
    getters = [kind(name) for name in columns]
    return lambda row: [get(row) for get in getters]


def _without_formulas(row: Iterable[object]) -> list[object]:
    return [
        cell
        if (cell[:1] not in _FORMULA_STARTS if type(cell) is str else type(cell) in _NEVER_FORMULAS)
        else _inert(cell)
        for cell in row
    ]


def _inert(cell: object) -> object:
    if isinstance(cell, Number):
        return cell
    text = cell if isinstance(cell, str) else str(cell)
    return "'" + text if text[:1] in _FORMULA_STARTS else cell
