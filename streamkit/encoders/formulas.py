"""Text that a spreadsheet would run as a formula (OWASP, CSV injection), made inert."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from numbers import Number
from typing import Any

__all__ = ["formula_guard"]

# A sign, or its full-width form, which Excel in Chinese, Japanese or Korean takes for it.
_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
# Where another program may begin a cell inside ours: it chooses the separator by its language or
# by a look at the file, and knows no quotes but these.
_SEPARATORS = ",;|\t\r\n"
# What may stand before the sign and not be seen: the quotes of a cell, a byte order mark, NUL.
_UNSEEN = '"\ufeff\0'
_NEVER_FORMULAS = frozenset({int, float, bool, type(None)})
# What Python's codecs write as a sign, alone among all there are.
_ALIASES = {"cp932": "\u2212"}
_GIVEN = ("delimiter", "quotechar", "escapechar", "lineterminator")


def formula_guard(
    dialect: Mapping[str, Any], codec: str = "utf-8"
) -> Callable[[Iterable[object]], list[object]]:
    """A function that gives the cells of a row with an apostrophe before what could be a formula.

    That is a sign where a cell begins: at its start, and behind any character that a program might
    take for a separator; also a tab, CR or LF at the start of a cell. Numbers stay as they are.

    `codec` is Python's name of the charset that the text is encoded in.

    Raises `ValueError` for a dialect that itself writes a sign, with which no cell is safe.
    """
    for name in _GIVEN:
        value = dialect.get(name)
        if isinstance(value, str) and not set(_SIGNS).isdisjoint(value):
            raise ValueError(
                f"escape_formulas can't make cells inert with {name}={value!r}, since a cell that "
                f"begins with one of {' '.join(_SIGNS)} is a formula; choose another {name}"
            )
    own = "".join(str(dialect.get(name) or "") for name in ("delimiter", "lineterminator"))
    signs = re.escape(_SIGNS + _ALIASES.get(codec, ""))
    begins = rf"(?:\A|[{re.escape(_SEPARATORS + own)}])[{_UNSEEN}]*"
    insert = re.compile(rf"\A(?=[\t\r\n])|({begins})(?=[{signs}])").sub
    # Most text has none of these, which is found out in a fourth of the time.
    suspect = re.compile(rf"[{signs}\t\r\n]").search

    def inert(cell: object) -> object:
        if isinstance(cell, Number):
            return cell
        # The text itself: a subclass of str might show another.
        text = str.__str__(cell if isinstance(cell, str) else str(cell))
        safe = insert(r"\1'", text)
        return cell if safe == text else safe

    def guard(row: Iterable[object]) -> list[object]:
        return [
            cell
            if (not suspect(cell) if type(cell) is str else type(cell) in _NEVER_FORMULAS)
            else inert(cell)
            for cell in row
        ]

    return guard
