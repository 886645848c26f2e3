"""CSV is written in the charset that was asked for: the mark, the bytes, and what has no place."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.encoders.charsets import find_charset, require_utf8
from streamkit.encoders.csv import CSVEncoder


def body(items: Any, columns: Any = None, **options: Any) -> bytes:
    encoder = CSVEncoder(columns, **options)
    return b"".join([encoder.encode(item) for item in items]) + encoder.finish()


TEXTS = [
    ("utf-8", "ö€😀"),
    ("UTF8", "ö"),
    ("utf-8-sig", "ö"),
    ("cp1252", "ö€"),
    ("latin-1", "ö"),
    ("iso-8859-15", "€"),
    ("utf-16", "ö€😀"),
    ("utf-16-le", "ö"),
    ("utf-16-be", "ö"),
    ("utf-32", "ö😀"),
    ("utf-7", "ö+€"),
    ("shift_jis", "日本語、表"),
    ("cp932", "①"),
    ("gb18030", "中文😀"),
    ("big5", "中文"),
    ("euc-kr", "한국어"),
    ("iso-2022-jp", "日本語"),
    ("koi8-r", "привет"),
    ("cp037", "a'b"),
]


@pytest.mark.parametrize(("charset", "text"), TEXTS)
def test_the_bytes_are_of_the_charset(charset: str, text: str) -> None:
    rows = [{"name": text, "x": 1}, {"name": f'{text}, "{text}"', "x": 2}]
    found = body(rows, charset=charset).decode(charset)
    assert list(csv.DictReader(io.StringIO(found, newline=""))) == [
        {"name": row["name"], "x": str(row["x"])} for row in rows
    ]


@pytest.mark.parametrize(
    ("charset", "mark"),
    [
        ("utf-16", b"\xff\xfe"),
        ("utf-32", b"\xff\xfe\0\0"),
        ("utf-8-sig", b"\xef\xbb\xbf"),
        ("utf-16-be", b""),
        ("utf-8", b""),
        ("cp1252", b""),
    ],
)
def test_a_byte_order_mark_stands_once_at_the_start(charset: str, mark: bytes) -> None:
    codec = {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(charset)
    for rows, columns, text in (
        ([[1], [2]], None, "1\r\n2\r\n"),
        ([[1], [2]], ["a"], "a\r\n1\r\n2\r\n"),
        ([], ["a"], "a\r\n"),
        ([], None, ""),
    ):
        expected = mark + text.encode(codec or charset)
        assert body(rows, columns, charset=charset) == expected


@pytest.mark.parametrize(
    ("charset", "mark"), [("utf-8", b"\xef\xbb\xbf"), ("utf-16-be", b"\xfe\xff")]
)
def test_excel_adds_the_mark_of_the_charset(charset: str, mark: bytes) -> None:
    assert body([[1]], charset=charset, excel=True) == mark + "1\r\n".encode(charset)
    # Once, where the charset brings one.
    assert body([[1]], charset="utf-16", excel=True) == "\ufeff1\r\n".encode("utf-16-le")


def test_excel_is_refused_where_there_is_no_mark() -> None:
    with pytest.raises(ValueError, match=r"excel=True .* the charset 'cp1252' does not have"):
        CSVEncoder(charset="cp1252", excel=True)


@pytest.mark.parametrize(
    ("charset", "cell", "replaced"),
    [("cp1252", "Ω", b"?"), ("latin-1", "a€b", b"a?b"), ("shift_jis", "😀", b"?")],
)
def test_what_has_no_place_names_its_row_or_is_replaced(
    charset: str, cell: str, replaced: bytes
) -> None:
    with pytest.raises(ValueError, match=rf"CSV row 2 has .* charset {charset} has no place; pass"):
        body([["a"], [cell]], charset=charset)
    assert body([["a"], [cell]], charset=charset, unencodable="replace") == (
        b"a\r\n" + replaced + b"\r\n"
    )


def test_a_header_without_a_place_is_named() -> None:
    with pytest.raises(ValueError, match="the CSV header has '€', for which the charset latin-1"):
        CSVEncoder(["€"], charset="latin-1")
    with pytest.raises(ValueError, match="the CSV header has '€'"):
        body([{"€": 1}], charset="latin-1")
    assert body([{"€": 1}], charset="latin-1", unencodable="replace") == b"?\r\n1\r\n"


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-32-be"])
def test_a_lone_surrogate_is_a_replacement_character_in_unicode(charset: str) -> None:
    assert body([["\ud800", "\ud83d\ude00"]], charset=charset).decode(charset) == "\ufffd,😀\r\n"


def test_a_lone_surrogate_has_no_place_in_other_charsets() -> None:
    with pytest.raises(ValueError, match="CSV row 1 has"):
        body([["\ud800"]], charset="cp1252")


@pytest.mark.parametrize("charset", ["utf-16", "cp1252", "cp037"])
def test_a_cell_of_bytes_is_refused_in_every_charset(charset: str) -> None:
    with pytest.raises(TypeError, match="CSV row 1 has a cell of bytes"):
        body([[b"x"]], charset=charset)


@pytest.mark.parametrize("charset", ["", "klingon", "rot13", "base64", "utf-8\0"])
def test_a_charset_that_is_none_is_refused(charset: str) -> None:
    with pytest.raises(ValueError, match="is none that Python can encode text in"):
        CSVEncoder(charset=charset)
    with pytest.raises(TypeError, match="charset must be a str such as 'utf-8', got None"):
        CSVEncoder(charset=None)  # type: ignore[arg-type]


def test_unencodable_is_one_of_two_words() -> None:
    with pytest.raises(ValueError, match="unencodable must be 'error' or 'replace', got 'ignore'"):
        CSVEncoder(unencodable="ignore")  # type: ignore[arg-type]


# Each is read back as another character that is written alike.
SHARED = "\xa2\xa3\xac\u2016\u2212\u301c"


@given(st.lists(st.text(st.characters(codec="cp932", exclude_characters=SHARED)), min_size=1))
def test_text_of_a_charset_reads_back(cells: list[str]) -> None:
    text = body([cells], charset="cp932").decode("cp932")
    expected = io.StringIO()
    csv.writer(expected).writerow(cells)
    assert text == expected.getvalue()


def test_utf8_is_required_by_name() -> None:
    for name in ("utf-8", "UTF8", "utf_8", "U8"):
        require_utf8(name, "JSON", "RFC 8259")
    for name in ("latin-1", "utf-16", "utf-8-sig", "ascii"):
        with pytest.raises(ValueError, match=f"JSON is always UTF-8 .*got charset='{name}'"):
            require_utf8(name, "JSON", "RFC 8259")
    assert find_charset("utf-8").encode("ö\ud800") == "ö\ufffd".encode()
