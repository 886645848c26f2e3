from __future__ import annotations

import re
import unicodedata
from email.message import Message
from enum import Enum
from typing import cast
from urllib.parse import unquote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from streamkit.http.disposition import content_disposition

VALUE = re.compile(r'attachment; filename="([^"\\%]+)"(?:; filename\*=UTF-8\'\'([!-~]+))?')


@pytest.mark.parametrize(
    ("filename", "parameters"),
    [
        pytest.param("report.pdf", 'filename="report.pdf"', id="plain ASCII needs one parameter"),
        pytest.param("my report.pdf", 'filename="my report.pdf"', id="a space is quoted"),
        pytest.param("a;b=c,d.txt", 'filename="a;b=c,d.txt"', id="separators are quoted"),
        pytest.param("it's.txt", 'filename="it\'s.txt"', id="an apostrophe is quoted"),
        pytest.param(
            "été.pdf", "filename=\"ete.pdf\"; filename*=UTF-8''%C3%A9t%C3%A9.pdf", id="accents fall"
        ),
        pytest.param(
            "报告.pdf",
            "filename=\"__.pdf\"; filename*=UTF-8''%E6%8A%A5%E5%91%8A.pdf",
            id="other scripts become underscores",
        ),
        pytest.param(
            "Maß €.txt",
            "filename=\"Ma_ _.txt\"; filename*=UTF-8''Ma%C3%9F%20%E2%82%AC.txt",
            id="what has no ASCII form becomes an underscore",
        ),
        pytest.param(
            "😀.gif", "filename=\"_.gif\"; filename*=UTF-8''%F0%9F%98%80.gif", id="one per emoji"
        ),
        pytest.param(
            "ﬁn.txt", "filename=\"fin.txt\"; filename*=UTF-8''%EF%AC%81n.txt", id="ligature"
        ),
        pytest.param('a"b.txt', "filename=\"a_b.txt\"; filename*=UTF-8''a%22b.txt", id="a quote"),
        pytest.param(
            "5%.txt", "filename=\"5_.txt\"; filename*=UTF-8''5%25.txt", id="a percent sign"
        ),
        pytest.param("a%20b", "filename=\"a_20b\"; filename*=UTF-8''a%2520b", id="percent-encoded"),
        pytest.param("a/b.txt", 'filename="a_b.txt"', id="a slash"),
        pytest.param("..\\b.txt", 'filename=".._b.txt"', id="a backslash"),
        pytest.param("é/b", "filename=\"e_b\"; filename*=UTF-8''%C3%A9_b", id="a slash in both"),
        pytest.param(
            "a\uff0fb", "filename=\"a_b\"; filename*=UTF-8''a%EF%BC%8Fb", id="a full-width slash"
        ),
        pytest.param(
            "a\uff02b", "filename=\"a_b\"; filename*=UTF-8''a%EF%BC%82b", id="a full-width quote"
        ),
        pytest.param(
            "\u0301", "filename=\"_\"; filename*=UTF-8''%CC%81", id="nothing but an accent"
        ),
        pytest.param("a\udcffb", 'filename="a_b"', id="a lone surrogate"),
        pytest.param(
            "it's é*.txt",
            "filename=\"it's e*.txt\"; filename*=UTF-8''it%27s%20%C3%A9%2A.txt",
            id="characters that RFC 8187 leaves out",
        ),
        pytest.param(
            "é!#$&+-.^_`|~",
            "filename=\"e!#$&+-.^_`|~\"; filename*=UTF-8''%C3%A9!#$&+-.^_`|~",
            id="characters that RFC 8187 allows",
        ),
    ],
)
def test_a_name_is_written_for_old_and_new_clients(filename: str, parameters: str) -> None:
    assert content_disposition(filename) == f"attachment; {parameters}"


def test_the_type_may_be_another() -> None:
    assert content_disposition("a.png", "inline") == 'inline; filename="a.png"'


@pytest.mark.parametrize("char", ["\x00", "\t", "\n", "\r", "\x1f", "\x7f", "\x80", "\x9f"])
def test_a_control_character_in_a_name_is_replaced(char: str) -> None:
    assert content_disposition(f"a{char}b.txt") == 'attachment; filename="a_b.txt"'
    assert content_disposition(char) == 'attachment; filename="_"'


@pytest.mark.parametrize(
    "char", "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029"
)
def test_what_turns_or_breaks_a_name_on_the_screen_is_replaced(char: str) -> None:
    assert content_disposition(f"{char}fdp.exe") == 'attachment; filename="_fdp.exe"'


def test_the_marks_of_right_to_left_text_stay() -> None:
    assert content_disposition("א\u200f.pdf").endswith("UTF-8''%D7%90%E2%80%8F.pdf")


class Name(str, Enum):  # noqa: UP042 - its str() is not its value
    REPORT = "report.pdf"
    RESUME = "résumé.pdf"
    INLINE = "inline"


def test_a_subclass_of_str_is_the_string_it_is() -> None:
    assert content_disposition(Name.REPORT, Name.INLINE) == 'inline; filename="report.pdf"'
    assert content_disposition(Name.RESUME) == content_disposition("résumé.pdf")


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValueError, match=r"filename is ''.*pass None"):
        content_disposition("")


@pytest.mark.parametrize("name", [b"a.txt", 7, None])
def test_a_name_that_is_no_str_is_refused(name: object) -> None:
    with pytest.raises(TypeError, match=f"got {type(name).__name__}; for a path"):
        content_disposition(cast("str", name))


@pytest.mark.parametrize("kind", ["", "in line", "attachment;", 'a"', "a\r\nb", "ä"])
def test_a_type_that_is_no_token_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"is not a token .*'inline'"):
        content_disposition("a.txt", kind)


names = st.text(st.characters(exclude_categories=["Cc"]), min_size=1)


@given(names)
def test_every_name_reads_back(name: str) -> None:
    value = content_disposition(name)
    found = VALUE.fullmatch(value)
    assert value.isascii()
    assert found is not None
    real = re.sub(r"[/\\\u2028-\u202e\u2066-\u2069\ud800-\udfff]", "_", name)
    assert unquote(found[2] or found[1], errors="strict") == real


@given(names)
def test_the_fallback_reads_back_with_the_email_package(name: str) -> None:
    value = content_disposition(name)
    found = VALUE.fullmatch(value)
    assert found is not None
    message = Message()
    message["Content-Disposition"] = value.split("; filename*")[0]
    assert message.get_content_disposition() == "attachment"
    assert message.get_filename() == found[1].strip()


@given(st.text(st.characters(categories=["Ll", "Lu"]), min_size=1))
def test_a_letter_with_an_accent_keeps_its_letter(name: str) -> None:
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    assume(plain.isalnum() and plain.isascii())
    assert f'filename="{plain}"' in content_disposition(name)
