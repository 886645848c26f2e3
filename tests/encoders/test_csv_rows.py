"""Header and cells agree for every kind of row, whatever its columns are called."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections import UserDict, namedtuple
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.encoders.csv import CSVEncoder
from streamkit.encoders.rows import object_of, refuse_table


def body(items: Any, columns: Any = None, **options: Any) -> str:
    encoder = CSVEncoder(columns, **options)
    return (b"".join([encoder.encode(item) for item in items]) + encoder.finish()).decode()


class Record:
    """Acts as asyncpg's: no ABC, iterates its values, has keys() and values()."""

    def __init__(self, *pairs: tuple[str, object]) -> None:
        self._pairs = pairs

    def keys(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def values(self) -> Iterator[object]:
        return (value for _, value in self._pairs)

    def __iter__(self) -> Iterator[object]:
        return self.values()

    def __getitem__(self, key: int | str) -> object:
        return self._pairs[key][1] if isinstance(key, int) else dict(self._pairs)[key]

    def __len__(self) -> int:
        return len(self._pairs)


class DictRow(list[Any]):
    """Acts as psycopg2's: a list of the values that knows its keys."""

    def __init__(self, *pairs: tuple[str, object]) -> None:
        super().__init__(value for _, value in pairs)
        self._keys = [name for name, _ in pairs]

    def keys(self) -> list[str]:
        return self._keys


def sqlite_row(*pairs: tuple[str, object]) -> sqlite3.Row:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        columns = ", ".join(f'? AS "{name}"' for name, _ in pairs)
        row: sqlite3.Row = connection.execute(
            f"SELECT {columns}", [value for _, value in pairs]
        ).fetchone()
        return row
    finally:
        connection.close()


def sqlalchemy_row(*pairs: tuple[str, object]) -> Any:
    sqlalchemy = pytest.importorskip("sqlalchemy")
    columns = [sqlalchemy.literal(value).label(name) for name, value in pairs]
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        return connection.execute(sqlalchemy.select(*columns)).fetchone()


def named_tuple(*pairs: tuple[str, object]) -> Any:
    kind = namedtuple("Row", [name for name, _ in pairs])  # type: ignore[misc]
    return kind(*[value for _, value in pairs])


KINDS = [Record, DictRow, sqlite_row, sqlalchemy_row]
HARD = ["t", "tuple", "count", "index", "keys", "values", "_fields", "_mapping", "a.b", "", "é"]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("name", HARD)
def test_a_column_of_any_name_gets_its_own_cell(make: Any, name: str) -> None:
    if make is sqlalchemy_row and not name:
        name = " "  # it labels a column without a name itself
    row = make((name, "one"), ("other", "two"))
    assert list(csv.reader(io.StringIO(body([row])))) == [[name, "other"], ["one", "two"]]


@pytest.mark.parametrize("name", ["t", "tuple", "count", "index", "keys", "values"])
def test_a_named_tuple_is_read_by_position(name: str) -> None:
    assert body([named_tuple((name, 1), ("b", 2))]) == f"{name},b\r\n1,2\r\n"


def test_a_named_tuple_whose_property_hides_a_cell_is_read_by_position() -> None:
    class Base(NamedTuple):
        id: int
        name: str

    class Shown(Base):
        @property
        def name(self) -> str:  # type: ignore[override]
            return "hidden"

    assert body([Shown(1, "a"), Base(2, "b")], ["name", "id"]) == "name,id\r\na,1\r\nb,2\r\n"


@pytest.mark.parametrize("make", [Record, DictRow, sqlite_row, sqlalchemy_row])
def test_two_columns_of_one_name_keep_their_cells(make: Any) -> None:
    rows = [make(("a", 1), ("a", 2), ("b", 3)), make(("b", 6), ("a", 4), ("a", 5))]
    assert body(rows) == "a,a,b\r\n1,2,3\r\n4,5,6\r\n"


@pytest.mark.parametrize("make", [*KINDS, named_tuple])
def test_columns_put_the_cells_of_any_row_in_order(make: Any) -> None:
    rows = [make(("a", 1), ("b", 2)), {"b": 4, "a": 3}, make(("b", 6), ("a", 5))]
    if make is named_tuple:
        # Each has a type of its own, and names as the first.
        assert body(rows[:2], ["b", "a"]) == "b,a\r\n2,1\r\n4,3\r\n"
    assert body(rows, ["b", "a"]) == "b,a\r\n2,1\r\n4,3\r\n6,5\r\n"


class Named(tuple[Any, ...]):
    names: tuple[str, ...]

    def __new__(cls, names: tuple[str, ...], cells: tuple[Any, ...]) -> Any:
        row = super().__new__(cls, cells)
        row.names = names
        return row


class ByFields(Named):
    @property
    def _fields(self) -> tuple[str, ...]:
        return self.names


class ByKeys(Named):
    def keys(self) -> tuple[str, ...]:
        return self.names


@pytest.mark.parametrize("kind", [ByFields, ByKeys])
def test_a_tuple_with_names_of_its_own_is_read_by_them(kind: Any) -> None:
    assert body([kind(("a", "b"), (1, 2)), kind(("b", "a"), (3, 4))]) == "a,b\r\n1,2\r\n4,3\r\n"


def test_a_row_mapping_of_sqlalchemy_is_a_mapping() -> None:
    row = sqlalchemy_row(("t", 1), ("keys", 2))
    assert body([row._mapping, {"keys": 4, "t": 3}]) == "t,keys\r\n1,2\r\n3,4\r\n"


@pytest.mark.parametrize("wrap", [MappingProxyType, UserDict])
def test_any_mapping_is_a_row(wrap: Any) -> None:
    assert body([wrap({"a": 1, "b": 2}), wrap({"b": 4, "a": 3})]) == "a,b\r\n1,2\r\n3,4\r\n"


def test_asyncpgs_own_record_is_a_row() -> None:
    asyncpg = pytest.importorskip("asyncpg")
    from streamkit.encoders.rows import row_parts

    # None can be made without a database; the type says what it can do.
    assert row_parts(asyncpg.Record) is not None


# ragged rows


@dataclass
class Point:
    x: int
    y: int


class Pair(NamedTuple):
    x: int
    y: int


RAGGED: list[Any] = [
    ({"missing": ""}, [{"a": 1, "b": 2}, {"b": 3}], None, "a,b\r\n1,2\r\n,3\r\n"),
    ({"missing": None}, [{"a": 1, "b": 2}, {}], None, "a,b\r\n1,2\r\n,\r\n"),
    ({"missing": "n/a"}, [[1, 2], [3], []], None, "1,2\r\n3,n/a\r\nn/a,n/a\r\n"),
    ({"missing": 0}, [(1,)], ["a", "b", "c"], "a,b,c\r\n1,0,0\r\n"),
    ({"missing": "?"}, [Point(1, 2), Pair(3, 4)], ["y", "z"], None),
    ({"extra": "ignore"}, [{"a": 1}, {"b": 3, "a": 2}], None, "a\r\n1\r\n2\r\n"),
    ({"extra": "ignore"}, [[1], [2, 3], (4, 5, 6)], None, "1\r\n2\r\n4\r\n"),
    ({"extra": "ignore"}, [Point(1, 2), Pair(3, 4)], ["y"], "y\r\n2\r\n4\r\n"),
    ({"extra": "ignore"}, [{"a": 1}, {"b": 2}], None, None),
    ({"extra": "ignore"}, [[1, 2], [3]], None, None),
    (
        {"extra": "ignore", "missing": "-"},
        [Point(1, 2), Pair(3, 4), {"z": 5}, UserDict(y=6, q=7), Record(("y", 8)), []],
        ["y", "z"],
        "y,z\r\n2,-\r\n4,-\r\n-,5\r\n6,-\r\n8,-\r\n-,-\r\n",
    ),
]


@pytest.mark.parametrize(("options", "rows", "columns", "text"), RAGGED)
def test_ragged_rows_are_filled_and_cut_by_choice(
    options: Any, rows: list[Any], columns: Any, text: str | None
) -> None:
    if text is None:
        with pytest.raises(ValueError, match="CSV row"):
            body(rows, columns, **options)
    else:
        assert body(rows, columns, **options) == text
    with pytest.raises(ValueError, match=r"CSV row \d .*pass (missing=|extra='ignore')"):
        body(rows, columns)


def test_extra_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="extra must be 'error' or 'ignore', got 'raise'"):
        CSVEncoder(extra="raise")  # type: ignore[arg-type]


names = st.sampled_from("abcd")


@given(st.lists(st.dictionaries(names, st.integers(), max_size=4), max_size=5))
def test_filled_and_cut_rows_are_those_of_a_dict_writer(rows: list[dict[str, int]]) -> None:
    file = io.StringIO()
    writer = csv.DictWriter(file, ["a", "b", "c"], restval="-", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    for wrap in (dict, UserDict, lambda row: Record(*row.items())):
        found = body(map(wrap, rows), ["a", "b", "c"], missing="-", extra="ignore")
        assert found == file.getvalue()


# rows as objects, tables as content


def test_a_row_as_an_object_has_its_names() -> None:
    for make in KINDS:
        assert object_of(make(("t", 1), ("a.b", 2))) == {"t": 1, "a.b": 2}
    for nothing in ([1], "ab", b"ab", 5, None, {1}, object(), Point(1, 2)):
        assert object_of(nothing) is None


def test_an_object_cannot_have_two_cells_of_one_name() -> None:
    with pytest.raises(ValueError, match="2 cells named 'a'; name them apart"):
        object_of(sqlite_row(("a", 1), ("a", 2)))


def tables() -> Iterator[Any]:
    pandas = pytest.importorskip("pandas")
    yield pandas.DataFrame({"a": [1]}), "to_dict"
    polars = pytest.importorskip("polars")
    yield polars.DataFrame({"a": [1]}), "iter_rows"
    yield polars.DataFrame({"a": [1]}).lazy(), "collect"
    pyarrow = pytest.importorskip("pyarrow")
    yield pyarrow.table({"a": [1]}), "to_pylist"
    yield pyarrow.record_batch({"a": [1]}), "to_pylist"


def test_a_table_as_content_is_refused_with_what_to_pass() -> None:
    for table, way_out in tables():
        with pytest.raises(TypeError, match=rf"Rows content must give rows.*{way_out}") as caught:
            refuse_table(table, "Rows")
        assert type(table).__name__ in str(caught.value)


def test_columns_and_other_content_are_no_tables() -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    contents: list[Any] = [pandas.Series([1]), polars.Series([1]), [1], iter([]), {}, "a", None]
    for content in contents:
        refuse_table(content, "Rows")


def test_what_the_error_tells_to_pass_are_rows() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    expected = "a,b\r\n1,x\r\n2,y\r\n"
    assert body(frame.to_dict("records")) == expected
    assert body(frame.itertuples(index=False)) == expected
    polars = pytest.importorskip("polars")
    assert body(polars.from_pandas(frame).iter_rows(named=True)) == expected
    assert isinstance({}, Mapping)
