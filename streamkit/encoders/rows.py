"""Rows and mappings, told by what they can do and not by their class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["RowParts", "object_of", "refuse_table", "row_parts"]

Names = tuple[Any, ...]
RowParts = Callable[[Any], tuple[Names, Sequence[object]]]
"""Gives the names of a row's cells, and the cells by position."""


def row_parts(kind: type) -> RowParts | None:
    """How to read the items of a type that have names and positions; `None` for other types.

    Rows are named tuples, SQLAlchemy's `Row`, `sqlite3.Row`, `asyncpg.Record` and their like, and
    all mappings. Cells are read by position, never by attribute or key: a column may well be named
    `count`, `keys` or `a.b`, and a query may give two columns one name.
    """
    # On the type: an instance may have an attribute for each column.
    sequence = issubclass(kind, Sequence) and not issubclass(kind, Mapping)
    if sequence and hasattr(kind, "_fields"):
        return lambda row: (tuple(row._fields), row)
    if not callable(getattr(kind, "keys", None)) or not hasattr(kind, "__getitem__"):
        return None
    if callable(getattr(kind, "values", None)):
        return lambda row: (tuple(row.keys()), tuple(row.values()))
    if sequence:
        return lambda row: (tuple(row.keys()), row)
    return None


def object_of(item: Any) -> dict[Any, object] | None:
    """The row or mapping `item` as a dict, `None` if it is neither.

    Raises `ValueError` for two cells of one name, since an object has room for one of them.
    """
    parts = row_parts(type(item))
    if parts is None:
        return None
    names, cells = parts(item)
    found = dict(zip(names, cells, strict=True))
    if len(found) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {names.count(twice)} cells named {twice!r}; name them apart")
    return found


def refuse_table(content: object, owner: str) -> None:
    """Raise `TypeError` for a data frame or table, of which iterating gives no rows.

    pandas gives the names of the columns, polars and pyarrow give whole columns. `owner`, a class
    of which the error speaks, was given `content`.
    """
    kind = type(content)
    # Protocols for the exchange of tables; a single column has the second as well.
    exchanged = hasattr(kind, "__dataframe__") or (
        hasattr(kind, "__arrow_c_stream__")
        and (hasattr(kind, "columns") or hasattr(kind, "column_names"))
    )
    family = kind.__module__.partition(".")[0]
    if exchanged or (family, kind.__name__) == ("polars", "LazyFrame"):
        raise TypeError(
            f"{owner} content must give rows, and a {kind.__name__} of {family} gives none when it "
            f"is iterated; {_WAYS_OUT.get(family, 'pass an iterable of its rows, such as dicts')}"
        )


_WAYS_OUT = {
    "pandas": "pass frame.to_dict('records'), or frame.itertuples(index=False)",
    "polars": "pass frame.iter_rows(named=True), after collect() for a lazy one",
    "pyarrow": "pass (row for batch in table.to_batches() for row in batch.to_pylist())",
}
