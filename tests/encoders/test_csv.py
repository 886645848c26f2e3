from __future__ import annotations

import csv
import doctest
import io
import sqlite3
from collections import ChainMap, OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, RootModel, computed_field

from streamkit.encoders import Encoder
from streamkit.encoders import csv as csv_module
from streamkit.encoders.csv import CSVEncoder


@dataclass
class Point:
    x: int
    y: int


Pair = namedtuple("Pair", ["x", "y"])


class Account(BaseModel):
    id: int
    full_name: str = Field(alias="fullName")
    password: str = Field(exclude=True)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def double(self) -> int:
        return self.id * 2


class Kind(str, Enum):  # noqa: UP042 - its str() is not its value
    FORMULA = "=1"


def body(items: Iterable[object], columns: Any = None, **options: Any) -> bytes:
    encoder = CSVEncoder(columns, **options)
    return b"".join([encoder.encode(item) for item in items]) + encoder.finish()


def records(*queries: str) -> list[sqlite3.Row]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        return [row for query in queries for row in connection.execute(query)]
    finally:
        connection.close()


def test_its_examples_run() -> None:
    assert doctest.testmod(csv_module).failed == 0


def test_it_is_an_encoder() -> None:
    assert isinstance(CSVEncoder(), Encoder)


ACCOUNT = Account(id=1, fullName="A", password="secret")


@pytest.mark.parametrize(
    ("items", "text"),
    [
        ([], ""),
        ([{"x": 1, "y": None}, {"y": "b", "x": 2.5}], "x,y\r\n1,\r\n2.5,b\r\n"),
        ([{"x": None}, {"x": "a"}], 'x\r\n""\r\na\r\n'),
        ([{}], "\r\n\r\n"),
        ([OrderedDict(x=1, y=2), {"y": 4, "x": 3}], "x,y\r\n1,2\r\n3,4\r\n"),
        ([UserDict(x=1, y=2), ChainMap({"y": 4}, {"x": 3})], "x,y\r\n1,2\r\n3,4\r\n"),
        ([[1, "a"], (2, "b"), range(2)], "1,a\r\n2,b\r\n0,1\r\n"),
        ([Point(1, 2), Pair(3, 4), {"y": 6, "x": 5}], "x,y\r\n1,2\r\n3,4\r\n5,6\r\n"),
        ([Pair(1, 2), [3, 4]], "x,y\r\n1,2\r\n3,4\r\n"),
        ([{"y": 1, "x": 2}, Pair(x=3, y=4)], "y,x\r\n1,2\r\n4,3\r\n"),
        ([ACCOUNT, ACCOUNT], "id,fullName,double\r\n1,A,2\r\n1,A,2\r\n"),
        ([RootModel[dict[str, int]]({"x": 1})], "x\r\n1\r\n"),
        ([{1: "a", 2: "b"}], "1,2\r\na,b\r\n"),
        ([['a"b', "c,d", "e\r\nf", "\0", " ö😀"]], '"a""b","c,d","e\r\nf",\0, ö😀\r\n'),
        ([["\ud800", "\ud83d\ude00"]], "\ufffd,😀\r\n"),
        ([{"\ud800": "it's <b>"}], "\ufffd\r\nit's <b>\r\n"),
        (records("SELECT 1 AS a, 'b' AS b"), "a,b\r\n1,b\r\n"),
        (records("SELECT 1 AS a, 2 AS a", "SELECT 3 AS a, 4 AS a"), "a,a\r\n1,2\r\n3,4\r\n"),
        (records("SELECT 1 AS a, 2 AS b", "SELECT 4 AS b, 3 AS a"), "a,b\r\n1,2\r\n3,4\r\n"),
    ],
)
def test_rows_of_every_kind_are_lines_below_their_header(items: list[object], text: str) -> None:
    assert body(items) == text.encode()


@pytest.mark.parametrize(
    ("options", "items", "text"),
    [
        (
            {"columns": ["y", "x"]},
            [{"x": 1, "y": 2}, Point(3, 4), [5, 6]],
            "y,x\r\n2,1\r\n4,3\r\n5,6\r\n",
        ),
        ({"columns": ["y", "x"]}, [], "y,x\r\n"),
        ({"columns": ["y", "x"], "header": False}, [Point(1, 2)], "2,1\r\n"),
        ({"columns": iter(["x"]), "header": False}, [], ""),
        ({"header": False}, [{"x": 1}], "1\r\n"),
        ({"excel": True}, [{"x": "ö"}, {"x": 1}], "\ufeffx\r\nö\r\n1\r\n"),
        ({"excel": True}, [[1]], "\ufeff1\r\n"),
        ({"excel": True}, [], "\ufeff"),
        ({"excel": True, "columns": ["x"]}, [], "\ufeffx\r\n"),
        ({"delimiter": ";", "lineterminator": "\n"}, [[1, "a;b"]], '1;"a;b"\n'),
        ({"lineterminator": "\n"}, [[1, "a\rb"], [2, "c\nd"]], '1,"a\rb"\n2,"c\nd"\n'),
        ({"lineterminator": "\r"}, [[1, "a\nb"]], '1,"a\nb"\r'),
        ({"lineterminator": "|"}, [[1, "a\nb", "c|d", "e\r"]], '1,"a\nb","c|d","e\r"|'),
        ({"quoting": csv.QUOTE_ALL}, [[1, None]], '"1",""\r\n'),
        ({"quoting": csv.QUOTE_NONE, "escapechar": "\\"}, [["a,b"]], "a\\,b\r\n"),
        ({"quotechar": "'", "doublequote": True}, [["it's"]], "'it''s'\r\n"),
    ],
)
def test_options_shape_the_text(options: dict[str, Any], items: list[object], text: str) -> None:
    assert body(items, **options) == text.encode()


@pytest.mark.parametrize(
    ("items", "columns", "reason"),
    [
        ([{"x": 1}, {"y": 2}], None, r"CSV row 2 lacks \['x'\] and has \['y'\] beside .*\['x'\]; "),
        ([{"x": 1}, {"x": 2, "y": 3}], None, r"CSV row 2 has \['y'\] beside"),
        ([{"x": 1, "y": 1}, {"x": 2}], None, r"CSV row 2 lacks \['y'\] of the columns"),
        ([{"x": 1, "z": 2}], ["x", "y"], r"CSV row 1 lacks \['y'\] and has \['z'\]"),
        ([{"x": 1, "y": 2}], ["x"], r"CSV row 1 has \['y'\] beside"),
        ([Point(1, 2), Pair(1, 2), ACCOUNT], None, r"CSV row 3 lacks \['x', 'y'\]"),
        ([Point(1, 2)], ["x"], r"CSV row 1 has \['y'\] beside"),
        ([Pair(1, 2)], ["x", "y", "z"], r"CSV row 1 lacks \['z'\]"),
        ([UserDict(x=1), UserDict(y=1)], None, r"CSV row 2 lacks \['x'\] and has \['y'\]"),
        (
            [{"x": 1}, defaultdict(int, y=1)],
            None,
            r"CSV row 2 lacks \['x'\] and has \['y'\]",
        ),
        (records("SELECT 1 AS a", "SELECT 1 AS b"), None, r"CSV row 2 lacks \['a'\]"),
        (records("SELECT 1 AS a", "SELECT 1 AS a, 2 AS a"), None, r"CSV row 2 has \['a'\] beside"),
        ([[1, 2], [3]], None, "CSV row 2 has 1 cells instead of 2; fill up with None"),
        ([[1, 2]], ["x"], "CSV row 1 has 2 cells instead of 1"),
        ([[1, 2], {"x": 1}], None, "CSV row 2 has named cells .* had none; pass columns"),
    ],
)
def test_a_row_of_another_shape_is_an_error_that_names_it(
    items: list[object], columns: list[str] | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        body(items, columns)


@pytest.mark.parametrize(
    "item",
    ["a,b", b"a,b", bytearray(b"a"), 5, None, iter([1]), Point, RootModel[list[int]]([1])],
)
def test_an_item_that_is_no_row_is_refused(item: object) -> None:
    with pytest.raises(TypeError, match=r"a CSV row must be a mapping, a sequence, .* got"):
        body([item])


@pytest.mark.parametrize(
    "cell",
    [b"x", b"it's", type("Bytes", (bytes,), {})(b"x"), bytearray(b"x"), memoryview(b"x")],
)
@pytest.mark.parametrize(
    "options", [{}, {"quotechar": "'", "escapechar": "\\", "doublequote": False}]
)
def test_a_cell_of_bytes_is_refused(cell: object, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="CSV row 2 has a cell of bytes; decode it to str first"):
        body([{"a": "'<", "b": 1}, {"a": 1, "b": cell}], **options)


def test_a_row_that_the_dialect_cannot_write_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"CSV row 2 .*escapechar"):
        body([["a"], ["a,b"]], quoting=csv.QUOTE_NONE, quotechar=None)


def test_columns_as_one_str_are_refused() -> None:
    with pytest.raises(TypeError, match="columns must be a sequence of names, got the str 'id'"):
        CSVEncoder("id")


def test_an_unknown_option_of_the_dialect_is_refused() -> None:
    with pytest.raises(TypeError):
        CSVEncoder(seperator=";")  # type: ignore[call-arg]


@pytest.mark.parametrize("start", list("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20"))
def test_text_that_a_spreadsheet_might_run_gets_an_apostrophe(start: str) -> None:
    formula = start + "cmd"
    written = body([{formula: formula}], escape_formulas=True).decode()
    assert list(csv.reader(io.StringIO(written, newline=""))) == [["'" + formula]] * 2


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (-1, "-1"),
        (-1.5, "-1.5"),
        (Decimal("-2.50"), "-2.50"),
        (None, '""'),
        ("", '""'),
        ("a=b", "a=b"),
        (Kind.FORMULA, "'=1"),
        (PurePosixPath("=1"), "'=1"),
        (PurePosixPath("a"), "a"),
    ],
)
def test_numbers_and_harmless_text_stay_as_they_are(cell: object, text: str) -> None:
    assert body([[cell]], escape_formulas=True) == text.encode() + b"\r\n"


def test_a_refused_row_leaves_the_header_for_the_next() -> None:
    encoder = CSVEncoder(["x", "y"])
    with pytest.raises(ValueError, match="CSV row 1"):
        encoder.encode([1])
    assert encoder.encode([1, 2]) + encoder.finish() == b"x,y\r\n1,2\r\n"


cells = st.text(st.characters(exclude_categories=["Cs"]))
tables = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=6)
)


@given(tables, st.booleans())
def test_the_standard_library_reads_back_every_cell(table: list[list[str]], excel: bool) -> None:
    text = body(table, excel=excel).decode("utf-8-sig" if excel else "utf-8")
    assert list(csv.reader(io.StringIO(text, newline=""))) == table


printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
named = st.lists(st.fixed_dictionaries({"x": printable, "y": printable}), min_size=1, max_size=6)


@given(named)
def test_pandas_reads_back_every_row(items: list[dict[str, str]]) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_csv(io.BytesIO(body(items)), dtype=str, keep_default_na=False)
    assert frame.to_dict("records") == items


@given(named)
def test_polars_reads_back_every_row(items: list[dict[str, str]]) -> None:
    polars = pytest.importorskip("polars")
    # It takes an empty cell for null, by an option whose name depends on its version.
    rows = [{name: "t" + cell for name, cell in row.items()} for row in items]
    frame = polars.read_csv(body(rows), schema={"x": polars.String, "y": polars.String})
    assert frame.to_dicts() == rows


def test_a_large_cell_is_whole() -> None:
    assert body([["ö" * 2_000_000]]) == "ö".encode() * 2_000_000 + b"\r\n"
