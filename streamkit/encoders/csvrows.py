"""How the rows of a CSV file are read: each of its columns' cells, from items of any kind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter, itemgetter
from typing import Any, Literal, cast

from pydantic import BaseModel

from streamkit.encoders.rows import RowParts, row_parts

__all__ = ["ERROR", "Fit", "Misfit", "Read", "named_reader", "names_of", "sequence_reader"]

Names = tuple[Any, ...]
Cells = Sequence[object]
Read = Callable[[Any], Cells]

ERROR: Any = ...
"""The default of `missing`, for which None would not do: it is a cell like any other."""


class Misfit(ValueError):
    """A row does not have the columns; says how, and what to do, after "CSV row 1"."""


class Fit:
    """Puts the cells of rows into the order of the columns, and says which do not fit."""

    __slots__ = ("_names", "_plan", "extra", "missing")

    def __init__(
        self, missing: object = ERROR, extra: Literal["error", "ignore"] = "error"
    ) -> None:
        if extra not in ("error", "ignore"):
            raise ValueError(f"extra must be 'error' or 'ignore', got {extra!r}")
        self.missing: object = missing
        self.extra = extra
        self._names: Names | None = None
        self._plan: list[int | None] = []

    def named(self, names: Names, cells: Cells, columns: Names) -> Cells:
        """The cells of a row with these names; the second of one name for its second column."""
        if names == columns:
            return cells
        if names != self._names:
            self._plan, self._names = self._arrange(names, columns), names
        return [self.missing if place is None else cells[place] for place in self._plan]

    def unnamed(self, cells: Cells, width: int) -> Cells:
        """The cells of a row without names, which has to be as long as the others."""
        if len(cells) < width and self.missing is not ERROR:
            return [*cells, *[self.missing] * (width - len(cells))]
        if len(cells) > width and self.extra == "ignore":
            return cells[:width]
        if len(cells) != width:
            raise Misfit(
                f"has {len(cells)} cells instead of {width}; fill up with None, or pass missing= "
                f"or extra='ignore'"
            )
        return cells

    def _arrange(self, names: Names, columns: Names) -> list[int | None]:
        places: dict[object, list[int]] = {}
        for place in reversed(range(len(names))):
            places.setdefault(names[place], []).append(place)
        plan = [found.pop() if (found := places.get(name)) else None for name in columns]
        lacking = [name for name, place in zip(columns, plan, strict=True) if place is None]
        left = sorted(place for found in places.values() for place in found)
        if (lacking and self.missing is ERROR) or (left and self.extra == "error"):
            raise Misfit(_misfit(lacking, [names[place] for place in left], columns))
        return plan


def _misfit(lacking: list[object], left: list[object], columns: Names) -> str:
    known = f"the columns {list(columns)}; make the rows alike"
    if not left:
        return f"lacks {lacking} of {known}, or pass missing="
    if not lacking:
        return f"has {left} beside {known}, or pass extra='ignore'"
    return (
        f"lacks {lacking} and has {left} beside {known}, or pass missing= and extra='ignore'; "
        f"other names are given where the rows are made (AS, in SQL)"
    )


def names_of(item: Any) -> Names | None:
    """The names of a row's cells, `None` for a sequence without names.

    Raises `TypeError` for an item that is no row.
    """
    values = item.model_dump(by_alias=True) if isinstance(item, BaseModel) else item
    if not isinstance(values, Mapping) and _is_dataclass(item):
        return tuple(field.name for field in dataclasses.fields(item))
    parts = row_parts(type(values))
    if parts is not None:
        return parts(values)[0]
    if isinstance(values, Sequence) and not isinstance(
        item, (str, bytes, bytearray, memoryview, BaseModel)
    ):
        return None
    raise TypeError(
        f"a CSV row must be a mapping, a sequence, a dataclass or a pydantic model, got "
        f"{type(item).__name__}: {item!r:.60}; for text that is CSV already use "
        f"StreamingResponse with media_type='text/csv'"
    )


def sequence_reader(width: int, fit: Fit) -> Read:
    """Reads rows of the type of an item without names."""

    def read(row: Cells) -> Cells:
        return row if len(row) == width else fit.unnamed(row, width)

    return read


def named_reader(item: object, columns: Names, fit: Fit) -> Read:
    """Reads rows of the type of an item with names."""
    from_dict = _dict_reader(columns, fit)
    if isinstance(item, BaseModel):
        return lambda model: from_dict(model.model_dump(by_alias=True))
    if type(item) is dict:
        return from_dict
    if not isinstance(item, Mapping) and _is_dataclass(item):
        return _dataclass_reader(item, columns, fit)
    if isinstance(item, tuple) and getattr(type(item), "_fields", None) == columns:
        return _as_it_is  # a named tuple: its names belong to its type
    parts = cast(RowParts, row_parts(type(item)))  # it has names, as `names_of` has found
    return lambda row: fit.named(*parts(row), columns)


def _as_it_is(row: Cells) -> Cells:
    return row


def _is_dataclass(item: object) -> bool:
    return dataclasses.is_dataclass(item) and not isinstance(item, type)


def _dict_reader(columns: Names, fit: Fit) -> Read:
    get = _getter(itemgetter, columns)
    width = len(columns)

    def read(row: dict[object, object]) -> Cells:
        if len(row) == width:
            try:
                return get(row)
            except KeyError:
                pass
        return fit.named(tuple(row), tuple(row.values()), columns)

    return read


def _dataclass_reader(item: Any, columns: Names, fit: Fit) -> Read:
    names = tuple(field.name for field in dataclasses.fields(item))
    get = _getter(attrgetter, names)
    return get if names == columns else lambda row: fit.named(names, get(row), columns)


def _getter(kind: Callable[..., Read], names: Names) -> Read:
    if len(names) > 1:
        return kind(*names)
    # With one name a getter returns the value itself, with none it cannot be made.
    getters = [kind(name) for name in names]
    return lambda row: [get(row) for get in getters]
