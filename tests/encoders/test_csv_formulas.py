"""No cell opens as a formula, whichever separator the program that opens the file takes."""

from __future__ import annotations

import csv
import io
import re
import shutil
import subprocess
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.encoders.csv import CSVEncoder

SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"
DIALECTS: list[dict[str, Any]] = [
    {},
    {"delimiter": ";"},
    {"delimiter": "\t"},
    {"delimiter": "|"},
    {"delimiter": " "},
    {"quotechar": "'"},
    {"quoting": csv.QUOTE_ALL},
    {"quoting": csv.QUOTE_NONE, "escapechar": "\\"},
    {"quoting": csv.QUOTE_NONE, "escapechar": "\\", "quotechar": None},
    {"doublequote": False, "escapechar": "\\"},
    {"lineterminator": "\n"},
]


def written(rows: list[list[object]], **options: Any) -> str:
    encoder = CSVEncoder(escape_formulas=True, **options)
    return b"".join([*map(encoder.encode, rows), encoder.finish()]).decode()


def cells_of(text: str, **options: Any) -> list[str]:
    rows = csv.reader(io.StringIO(text, newline=""), **options)
    return [cell for row in rows for cell in row]


class Kind(str, Enum):  # noqa: UP042 - its str() is not its value
    FORMULA = "=1"
    HARMLESS = "a"


class Liar(str):
    """Text that shows itself as another."""

    def __str__(self) -> str:
        return "harmless"

    def __format__(self, spec: str) -> str:
        return "harmless"

    def __getitem__(self, key: Any) -> str:
        return "h"


@pytest.mark.parametrize(
    ("cell", "safe"),
    [
        *[(f"{sign}cmd", f"'{sign}cmd") for sign in SIGNS],
        ("\tcmd", "'\tcmd"),
        ("\rcmd", "'\rcmd"),
        ("\ncmd", "'\ncmd"),
        ("\t=cmd", "'\t'=cmd"),
        # another program's separator
        ("a;=1+1", "a;'=1+1"),
        ("a,=1+1", "a,'=1+1"),
        ("a\t=1+1", "a\t'=1+1"),
        ("a|=1+1", "a|'=1+1"),
        ("a;\uff1d1", "a;'\uff1d1"),
        ("a\n=1+1", "a\n'=1+1"),
        ("a\r\n=1+1", "a\r\n'=1+1"),
        (";=;=", ";'=;'="),
        ("==", "'=="),
        # what is not seen before a sign
        ('"=1+1"', '"\'=1+1"'),
        ('a;"=1+1', "a;\"'=1+1"),
        ('a;""=1+1', 'a;""\'=1+1'),
        ("\ufeff=1+1", "\ufeff'=1+1"),
        ("\0=1+1", "\0'=1+1"),
        # a str subclass is the text it is
        (Kind.FORMULA, "'=1"),
        (Liar("=1"), "'=1"),
        (Path("=1"), "'=1"),
        # harmless
        ("", ""),
        ("a=b", "a=b"),
        ("a = b", "a = b"),
        ("a; b", "a; b"),
        ("3 - 2", "3 - 2"),
        ("me@example.com", "me@example.com"),
        ("'=1", "'=1"),
        ("a\tb\nc", "a\tb\nc"),
        (Kind.HARMLESS, "a"),
        (Liar("a"), "a"),
        (Path("a"), "a"),
        (-1, "-1"),
        (-1.5, "-1.5"),
        (Decimal("-2.50"), "-2.50"),
        (Fraction(-1, 2), "-1/2"),
        (None, ""),
    ],
)
def test_an_apostrophe_stands_where_a_formula_could_begin(cell: object, safe: str) -> None:
    assert cells_of(written([["first", cell]])) == ["first", safe]


def test_what_becomes_a_sign_in_the_charset_is_one() -> None:
    encoder = CSVEncoder(escape_formulas=True, charset="cp932")
    assert encoder.encode(["\u22121+1", "a"]).decode("cp932") == "'\uff0d1+1,a\r\n"
    assert written([["\u22121+1"]]) == "\u22121+1\r\n"


def test_the_header_is_made_inert_too() -> None:
    encoder = CSVEncoder(["=1", "a;=1"], escape_formulas=True)
    assert encoder.finish() == b"'=1,a;'=1\r\n"


def test_without_the_option_text_stays_as_it_is() -> None:
    encoder = CSVEncoder(["=1"])
    assert encoder.encode(["a;=1"]) == b"=1\r\na;=1\r\n"


@pytest.mark.parametrize("option", ["delimiter", "quotechar", "escapechar", "lineterminator"])
def test_a_dialect_that_writes_signs_of_its_own_is_refused(option: str) -> None:
    for sign in "=+-@":
        dialect: Any = {option: sign}
        CSVEncoder(**dialect)
        with pytest.raises(ValueError, match=rf"can't make cells inert with {option}='\{sign}'"):
            CSVEncoder(escape_formulas=True, **dialect)


dangerous = st.text(st.sampled_from([*SIGNS, *"\t\r\n,;|'\" \\\0\ufeffa1"]), max_size=8)


@pytest.mark.parametrize("dialect", DIALECTS, ids=repr)
@given(st.lists(st.lists(dangerous, min_size=1, max_size=3), min_size=1, max_size=3))
def test_no_cell_begins_with_a_sign_for_any_separator(
    dialect: dict[str, Any], table: list[list[str]]
) -> None:
    width = max(map(len, table))
    text = written([row + ["x"] * (width - len(row) + 1) for row in table], **dialect)
    for separator in ",;\t|":
        # With quotes, and as a program reads that knows none.
        for cell in [
            *cells_of(text, delimiter=separator),
            *re.split(rf"[{re.escape(separator)}\r\n]", text),
        ]:
            assert cell.lstrip('"\ufeff\0')[:1] not in {*SIGNS}


def formulas_in_libreoffice(tmp_path: Path, texts: list[str], separator: str) -> list[str]:
    office = shutil.which("soffice") or shutil.which("libreoffice")
    if office is None:
        pytest.skip("needs LibreOffice (soffice)")
    folder = tmp_path / f"files{ord(separator)}"
    folder.mkdir()
    for number, text in enumerate(texts):
        (folder / f"{number}.csv").write_text(text, "utf-8", newline="")
    # Separator, quote, UTF-8, first row, no column formats, English, quoted fields as any other,
    # "detect special numbers", not as shown, and formulas evaluated: the import's widest door.
    how = f"CSV:Text - txt - csv (StarCalc):{ord(separator)},34,76,1,,1033,false,true,false,true"
    run = subprocess.run(
        [
            office,
            "--headless",
            f"-env:UserInstallation={(tmp_path / 'profile').as_uri()}",
            f"--infilter={how.removeprefix('CSV:')}",
            "--convert-to",
            "fods",
            "--outdir",
            str(folder),
            *map(str, sorted(folder.glob("*.csv"))),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    sheets = sorted(folder.glob("*.fods"))
    if not sheets:
        pytest.skip(f"LibreOffice can't convert here: {run.stderr[-200:]!r}")
    assert len(sheets) == len(texts)
    return [
        formula
        for sheet in sheets
        for formula in re.findall(r'table:formula="[^"]*"', sheet.read_text("utf-8"))
    ]


ATTACKS = [
    *[f"{sign}1+1" for sign in SIGNS],
    *[f"a{between}=1+1" for between in (",", ";", "\t", "|", "\n", "\r\n", ';"', ';""', ',"')],
    "\t=1+1",
    "\n=1+1",
    '"=1+1"',
    '"=1+1',
    "\ufeff=1+1",
    "\0=1+1",
    '=HYPERLINK("http://127.0.0.1/","x")',
    "a\\,=1+1",
    'a"\n=1+1',
]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_libreoffice_sees_no_formula(tmp_path: Path, separator: str) -> None:
    rows: list[list[object]] = [[cell, "x", cell] for cell in ATTACKS]
    # Each attack in a file of its own as well: one file may be read differently by its beginning.
    safe = [written(rows, **dialect) for dialect in DIALECTS]
    safe += [written([["x", cell]], **dialect) for cell in ATTACKS for dialect in DIALECTS[:3]]
    assert formulas_in_libreoffice(tmp_path, safe, separator) == []


def test_libreoffice_would_see_the_formulas_otherwise(tmp_path: Path) -> None:
    assert formulas_in_libreoffice(tmp_path, ["x,=1+1\r\n", "x,a;=1+1\r\n"], ";")
