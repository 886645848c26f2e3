"""CSV."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Unpack

from starlette.background import BackgroundTask

from streamkit.declare import Option, anything, flag, one_of
from streamkit.encoders import Encoder
from streamkit.encoders.csv import CSVDialect, CSVEncoder
from streamkit.responses import OnClose, ResponseOptions, StreamingResponse

__all__ = ["CSVOptions", "CSVStreamingResponse"]


def csv_dialect(name: str, value: Any) -> None:
    """None, or arguments of `csv.writer`."""
    if value is None or (
        isinstance(value, Mapping) and all(hasattr(csv.Dialect, key) for key in value)
    ):
        return
    raise TypeError(
        f"{name} must hold arguments of csv.writer ({', '.join(CSVDialect.__annotations__)}), such "
        f"as {{'delimiter': ';'}}, got {value!r:.80}"
    )


class CSVOptions(ResponseOptions, total=False):
    """What CSV adds to the class attributes."""

    columns: Sequence[str] | None
    missing: Annotated[
        object, Option(..., anything, text="The cell to write where a row has none.")
    ]
    extra: Annotated[
        Literal["error", "ignore"],
        Option("error", one_of("error", "ignore"), text="Cells without a column."),
    ]
    excel: Annotated[bool, Option(False, flag, text="Start with a byte order mark.")]
    escape_formulas: Annotated[bool, Option(False, flag, text="Make formulas inert.")]
    unencodable: Annotated[
        Literal["error", "replace"],
        Option("error", one_of("error", "replace"), text="What the charset has no place for."),
    ]
    dialect: Annotated[
        CSVDialect, Option(None, csv_dialect, text="Arguments of `csv.writer`, as `delimiter`.")
    ]


class CSVStreamingResponse(StreamingResponse):
    """Streams rows as CSV, `text/csv` (RFC 4180).

    Rows are mappings, sequences, dataclasses, models, or rows with names and positions, which are
    read by position: named tuples, SQLAlchemy's `Row`, `sqlite3.Row`, `asyncpg.Record`. The header
    comes from `columns`, or from the first row if it has names. A row with other columns is an
    error, unless `missing` gives the cell to write where it has none, and `extra="ignore"` leaves
    out the cells without a column.

    `excel=True` adds the byte order mark that Excel needs, `escape_formulas=True` makes cells inert
    that a spreadsheet would run, and `dialect` holds arguments of `csv.writer`, such as
    `{"delimiter": ";"}`. `charset` ("utf-8") is that of the type and of the bytes; what it has no
    place for is an error, or a question mark with `unencodable="replace"`.

        @app.get("/export.csv")
        def export():
            return CSVStreamingResponse(rows(), filename="export.csv", excel=True)
    """

    media_type = "text/csv"
    options: ClassVar[type] = CSVOptions
    _has_own_encoder = True
    columns: Sequence[str] | None = None
    missing: object = ...
    extra: Literal["error", "ignore"] = "error"
    excel: bool = False
    escape_formulas: bool = False
    unencodable: Literal["error", "replace"] = "error"
    dialect: CSVDialect | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            content: Iterable[object] | AsyncIterable[object],
            status_code: int = 200,
            headers: Mapping[str, str] | None = None,
            media_type: str | None = None,
            background: BackgroundTask | None = None,
            *,
            filename: str | None = None,
            content_disposition_type: str = "attachment",
            etag: str | Literal[False] | None = None,
            last_modified: datetime | Literal[False] | None = None,
            on_close: OnClose | None = None,
            **options: Unpack[CSVOptions],
        ) -> None: ...

    def make_encoder(self) -> Encoder[Any]:
        return CSVEncoder(
            self.columns,
            missing=self.missing,
            extra=self.extra,
            excel=self.excel,
            escape_formulas=self.escape_formulas,
            charset=self._charset,
            unencodable=self.unencodable,
            **(self.dialect or {}),
        )
