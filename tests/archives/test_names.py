"""Which names an archive takes, alone and together."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamkit.archives import Member, TARStreamingResponse, ZipMember, ZIPStreamingResponse
from streamkit.archives.names import NameChecker, fault
from streamkit.testing import fetch
from tests.archives.members import UNPACK, Counted, async_rows, body_of, both

pytestmark = pytest.mark.anyio

NFC, NFD = "é.txt", unicodedata.normalize("NFD", "é.txt")

VERDICTS = [
    # a name, and what is said of it where every system is to unpack it; None: nothing
    ("a.txt", None),
    ("docs/", None),
    ("docs/a.txt", None),
    (".env", None),
    ("-rf", None),
    ("~/a", None),
    ("a b", None),
    (" a", None),
    ("a..b", None),
    ("日本語/ファイル.txt", None),
    ("نص\u200f.txt", None),
    ("👩\u200d💻.txt", None),
    ("console", None),
    ("con1.txt", None),
    ("acon", None),
    ("com", None),
    ("com10", None),
    ("null", None),
    ("a" * 255, None),
    ("é" * 127, None),
    ("/".join(["a" * 255] * 3), None),
    ("CON", "the part 'CON', which is a device"),
    ("con.txt", "the part 'con', which is a device"),
    ("aux.tar.gz", "the part 'aux', which is a device"),
    ("a/nul", "the part 'nul', which is a device"),
    ("prn/a", "the part 'prn', which is a device"),
    ("prn/", "the part 'prn', which is a device"),
    ("Com1", "the part 'Com1', which is a device"),
    ("COM¹", "the part 'COM¹', which is a device"),
    ("lpt9.log", "the part 'lpt9', which is a device"),
    ("con .txt", "the part 'con', which is a device"),
    ("CONIN$", "the part 'CONIN$', which is a device"),
    ("x.", "ends with a dot"),
    ("x./a", "ends with a dot"),
    ("...", "ends with a dot"),
    ("x ", "ends with a space"),
    ("x /a", "ends with a space"),
    ("x /", "ends with a space"),
    ("f.txt:ads", "':', which Windows doesn't allow, where what follows it becomes a hidden"),
    ("a<b", "'<', which Windows doesn't allow"),
    ('a"b', "'\"', which Windows doesn't allow"),
    ("a|b", "'|', which Windows doesn't allow"),
    ("what?", "'?', which Windows doesn't allow"),
    ("*.txt", "'*', which Windows doesn't allow"),
    ("photo_\u202egpj.exe", r"'\u202e', which makes it show as another name"),
    ("a\u2066b", r"'\u2066', which makes it show as another name"),
    ("a\u2028b", r"'\u2028', which makes it show as another name"),
    ("a" * 256, "a part of 256 bytes"),
    ("a/" + "é" * 128, "a part of 256 bytes"),
]


@pytest.mark.parametrize(("name", "says"), VERDICTS, ids=[ascii(name)[:30] for name, _ in VERDICTS])
def test_a_name_that_is_a_trap_on_some_system_is_refused_unless_posix_is_asked_for(
    name: str, says: str | None
) -> None:
    member = ZipMember(name, None if name.endswith("/") else b"")
    ZIPStreamingResponse([member], names="posix")
    if says is None:
        ZIPStreamingResponse([member])
        return
    with pytest.raises(ValueError, match="names='posix'") as caught:
        ZIPStreamingResponse([member])
    assert says in str(caught.value)


TOGETHER = [
    # names in their order, and what is said: with names="portable", with names="posix"
    (["a", "b"], None, None),
    (["a/", "a/b"], None, None),
    (["a/b", "a/"], None, None),
    (["a/b", "a/c/d", "a/c/"], None, None),
    (["Docs/a", "docs/b"], None, None),
    (["a", "a"], "a member 'a' already", "a member 'a' already"),
    (["a/", "a/"], "a member 'a/' already", "a member 'a/' already"),
    (["a", "a/b"], "'a' as a file already", "'a' as a file already"),
    (["a", "a/b/c"], "'a' as a file already", "'a' as a file already"),
    (["a/b", "a"], "'a' as a directory already", "'a' as a directory already"),
    (["a", "a/"], "'a' as a file already", "'a' as a file already"),
    (["a/", "a"], "'a' as a directory already", "'a' as a directory already"),
    (["a/b", "a/b/c"], "'a/b' as a file already", "'a/b' as a file already"),
    (["A.txt", "a.txt"], "'a.txt' is the same name on Windows", None),
    (["Docs/a", "docs/A"], "'docs/A' is the same name on Windows", None),
    (["A", "a/b"], "'A' as a file already", None),
    (["A/", "a/"], "'a/' is the same name on Windows", None),
    ([NFC, NFD], "is the same name on Windows and macOS", None),
    (["straße", "STRASSE"], "is the same name on Windows and macOS", None),
    (["K", "\u212a"], "is the same name on Windows and macOS", None),
    (["ab", "a\u200cb"], "is the same name on Windows and macOS", None),
]


@pytest.mark.parametrize(
    ("given_names", "portable", "posix"), TOGETHER, ids=[ascii(row[0]) for row in TOGETHER]
)
def test_names_that_cannot_be_unpacked_together_are_refused(
    given_names: list[str], portable: str | None, posix: str | None
) -> None:
    for names, says in (("portable", portable), ("posix", posix)):
        checker = NameChecker(names, "error")  # type: ignore[arg-type]
        for name in given_names[:-1]:
            assert checker.admit(name) == name
        if says is None:
            assert checker.admit(given_names[-1]) == given_names[-1]
            continue
        with pytest.raises(ValueError, match="duplicates='rename'") as caught:
            checker.admit(given_names[-1])
        assert says in str(caught.value)


RENAMED = [
    (["a.txt", "a.txt", "a.txt"], ["a.txt", "a (2).txt", "a (3).txt"]),
    (["a.txt", "A.TXT"], ["a.txt", "A (2).TXT"]),
    (["a (2).txt", "a.txt", "a.txt"], ["a (2).txt", "a.txt", "a (3).txt"]),
    (["a.txt", "a.txt", "a (2).txt"], ["a.txt", "a (2).txt", "a (2) (2).txt"]),
    (["a.tar.gz", "a.tar.gz"], ["a.tar.gz", "a (2).tar.gz"]),
    ([".env", ".env"], [".env", ".env (2)"]),
    (["Makefile", "makefile"], ["Makefile", "makefile (2)"]),
    (["v1.2 of the long report", "v1.2 of the long report"], None),
    (["x/a.b/c", "x/a.b/c"], ["x/a.b/c", "x/a.b/c (2)"]),
    ([NFC, NFD], [NFC, "e\u0301 (2).txt"]),
    (["a", "a/b", "A/c", "a/"], ["a", "a (2)/b", "a (2)/c", "a (2)/"]),
    (["a/b", "a"], ["a/b", "a (2)"]),
    (["a/", "a", "a/b"], ["a/", "a (2)", "a/b"]),
    (["d/", "d/"], ["d/", "d (2)/"]),
    (["Docs/a", "docs/b", "docs/B"], ["Docs/a", "docs/b", "docs/B (2)"]),
    (["a" * 251 + ".txt"] * 2, ["a" * 251 + ".txt", "a" * 241 + " (2).txt"]),
    (["é" * 127] * 2, ["é" * 127, "é" * 122 + " (2)"]),
]


@pytest.mark.parametrize(
    ("given_names", "written"), RENAMED, ids=[ascii(row[0])[:50] for row in RENAMED]
)
def test_the_second_of_two_names_gets_a_number_where_that_is_asked_for(
    given_names: list[str], written: list[str] | None
) -> None:
    checker = NameChecker("portable", "rename")
    admitted = [checker.admit(name) for name in given_names]
    assert admitted == (written or [given_names[0], f"{given_names[0]} (2)"])


PARTS = st.text(st.sampled_from("aAbé. (2)"), min_size=1, max_size=6)


@given(st.lists(st.lists(PARTS, min_size=1, max_size=3).map("/".join), max_size=30))
def test_renamed_names_can_always_be_unpacked_together(given_names: list[str]) -> None:
    given_names = [name for name in given_names if not fault(name, "portable")]
    renaming, strict = NameChecker("portable", "rename"), NameChecker("portable", "error")
    for name in given_names:
        written = renaming.admit(name)
        assert strict.admit(written) == written


MANY: dict[str, list[str]] = {
    "different": [f"folder/{n}/{'x' * 240}{n:07}" for n in range(1000)],
    "the same": ["a.txt"] * 1000,
    # They differ only where a number takes the place.
    "alike": [f"{'x' * 245}{n // 2:07}" for n in range(1000)],
    "numbered": [f"a ({n}).txt" for n in range(2, 500)] + ["a.txt"] * 500,
}


@pytest.mark.parametrize("kind", MANY)
def test_names_are_checked_in_a_few_steps_each(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0
    key = NameChecker._key

    def counting(checker: NameChecker, part: str) -> str:
        nonlocal compared
        compared += 1
        return key(checker, part)

    monkeypatch.setattr(NameChecker, "_key", counting)
    checker = NameChecker("portable", "rename")
    for name in MANY[kind]:
        checker.admit(name)
    assert compared < 12 * len(MANY[kind])


def test_a_name_of_many_directories_is_checked_at_once() -> None:
    checker = NameChecker("portable", "error")
    name = "a/" * 32_000 + "b"
    assert checker.admit(name) == name
    assert checker.admit(name + "c") == name + "c"


# the responses


def generated(*members: ZipMember) -> Iterator[ZipMember]:
    yield from members


def twins(content: Any = b"2") -> list[ZipMember]:
    return [Member("a.txt", b"1"), Member("A.txt", content)]


@both
@pytest.mark.parametrize("wrap", ["list", "generator", "async generator"])
async def test_members_of_one_name_are_renamed_where_that_is_asked_for(
    response_class: Any, wrap: str, anyio_backend: Any
) -> None:
    members = [*twins(), Member("b", b"3"), Member("b/c", b"4")]
    wraps: dict[str, Any] = {"list": list, "generator": iter}
    content = wraps[wrap](members) if wrap in wraps else async_rows(*members)
    body = await body_of(response_class(content, duplicates="rename"))
    found = UNPACK[response_class](body)
    assert found == {"a.txt": b"1", "A (2).txt": b"2", "b": b"3", "b (2)/c": b"4"}


@both
async def test_twins_are_told_apart_where_linux_unpacks_them(response_class: Any) -> None:
    body = await body_of(response_class(generated(*twins()), names="posix"))
    assert UNPACK[response_class](body) == {"a.txt": b"1", "A.txt": b"2"}


@both
async def test_a_refused_name_cuts_the_archive_and_closes_the_content(
    response_class: Any, anyio_backend: Any
) -> None:
    fetched = await fetch(response_class(generated(*twins(counted := Counted()))))
    assert not fetched.complete
    assert isinstance(fetched.error, ValueError)
    assert counted.closed == 1


async def test_the_options_are_class_attributes_too() -> None:
    class Posix(TARStreamingResponse):
        names = "posix"
        duplicates = "rename"

    members = [*twins(), Member("a.txt", b"3")]
    found = UNPACK[TARStreamingResponse](await body_of(Posix(members)))
    assert found == {"a.txt": b"1", "A.txt": b"2", "a (2).txt": b"3"}


@both
@pytest.mark.parametrize("option", ["names", "duplicates"])
def test_an_unknown_choice_is_refused_where_it_is_made(response_class: Any, option: str) -> None:
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        response_class([], **{option: "strict"})
    with pytest.raises(ValueError, match=f"{option} must be one of"):
        type("Wrong", (response_class,), {option: None})


class Kind(str, Enum):  # noqa: UP042 (StrEnum writes its value anyway)
    REPORT = "report.txt"


class Shouting(str):
    def __str__(self) -> str:
        return "/etc/passwd"

    def __format__(self, spec: str) -> str:
        return "../up"

    def encode(self, *args: Any) -> bytes:  # type: ignore[override]
        return b"/etc/shadow"


@both
@pytest.mark.parametrize("name", [Kind.REPORT, Shouting("report.txt")], ids=["enum", "subclass"])
async def test_a_name_of_a_str_subclass_is_the_string_it_is(response_class: Any, name: str) -> None:
    member = Member(name, b"1")
    assert type(member.name) is str
    assert UNPACK[response_class](await body_of(response_class([member]))) == {"report.txt": b"1"}
