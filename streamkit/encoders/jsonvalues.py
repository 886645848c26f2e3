"""What JSON makes of values that its serialisers do not know: rows, mappings, missing times."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

from streamkit.encoders.rows import object_of, row_parts

__all__ = ["Default", "Rows", "fallback_for", "holds_iterator", "mended"]

Default = Callable[[Any], Any]
"""What `json.dumps` calls `default`: gives something serialisable for a value that is not."""


class Rows(dict[type, bool]):
    """Whether items of a type are rows or mappings that a serialiser would not write as objects.

    That is all but dicts: a named tuple would become an array, and the others an error. It is kept
    for the first `MOST` types that are asked for.
    """

    __slots__ = ()
    MOST = 1000

    def __missing__(self, kind: type) -> bool:
        found = not issubclass(kind, dict) and row_parts(kind) is not None
        if len(self) < self.MOST:
            self[kind] = found
        return found


def fallback_for(default: Default | None, nan: Literal["null", "error"]) -> Default:
    """What pydantic is to call for a value of a type that it does not know."""

    def fallback(value: Any) -> Any:
        found = object_of(value)
        if found is not None:
            return found
        if _is_missing(value):
            return _null(value, nan)
        if default is None:
            raise TypeError(f"Unable to serialize unknown type: {type(value)}")
        return default(value)

    return fallback


def mended(value: Any, nan: Literal["null", "error"]) -> Any:
    """A copy of a value in which rows are dicts and missing times None; itself if it has neither.

    It looks into dicts, lists, tuples and dataclasses. pandas' `NaT` is a `datetime` to every
    serialiser, which then fails; and serialisers other than pydantic's know no rows at all.
    """
    # Inside an item a named tuple is an array, as every serialiser writes it.
    if isinstance(value, (list, tuple)):
        inner = [mended(each, nan) for each in value]
        return value if all(a is b for a, b in zip(inner, value, strict=True)) else inner
    found = value if type(value) is dict else object_of(value)
    if found is not None:
        changed = {key: mended(inner, nan) for key, inner in found.items()}
        same = found is value and all(changed[key] is found[key] for key in found)
        return value if same else changed
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        changed = mended(fields, nan)
        return value if changed is fields else changed
    return _null(value, nan) if _is_missing(value) else value


def holds_iterator(value: object) -> bool:
    """Whether an iterator is in it, which can be written once."""
    if isinstance(value, Mapping):
        return any(map(holds_iterator, value.values()))
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(map(holds_iterator, value))
    return isinstance(value, Iterator)


def _is_missing(value: Any) -> bool:
    """pandas' NaT and NA, and NumPy's NaT: by name, so that neither has to be installed."""
    kind = type(value)
    if kind.__name__ in ("NaTType", "NAType"):
        return kind.__module__.partition(".")[0] == "pandas"
    if kind.__name__ in ("datetime64", "timedelta64") and kind.__module__ == "numpy":
        return bool(value != value)
    return False


def _null(value: object, nan: Literal["null", "error"]) -> None:
    if nan == "error":
        raise ValueError(f"JSON has no {value}; send None, or choose nan='null'")
