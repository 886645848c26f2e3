"""Names of an archive's members: which can be unpacked, and which together.

`fault` judges one name as it stands. `NameChecker` takes the names of one archive as they arrive
and refuses, or renames, those that can't be unpacked beside the others. Both are linear in the
length of the names.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum
from typing import Literal

__all__ = ["Duplicates", "NameChecker", "Names", "fault", "link_fault", "plain_str"]

Names = Literal["portable", "posix"]
Duplicates = Literal["error", "rename"]

# What both formats can tell of a name's length.
LONGEST = 65535
# Bytes of one part on ext4, XFS and most others; NTFS and APFS count more generously.
LONGEST_PART = 255

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_DRIVE = re.compile(r"[A-Za-z]:")
_ODD_PART = re.compile(r"(?:^|/)(\.{0,2})(?=/|\Z)")
# Microsoft's "Naming Files, Paths, and Namespaces". The extension doesn't matter, nor do spaces.
_DEVICE = re.compile(
    r"(?:^|/)((?:con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$) *)(?=\.|/|\Z)",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r'[<>:"|?*]')
_ENDS_BADLY = re.compile(r"[ .](?=/|\Z)")
# Embeddings, overrides and isolates (UAX #9), and the separators of lines and paragraphs.
_DISGUISE = re.compile("[\u202a-\u202e\u2066-\u2069\u2028\u2029]")
# HFS+ and old network shares compare names without these.
_IGNORED = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")


def plain_str(value: str) -> str:
    """The characters of a `str` subclass, whose own `__str__` or `__format__` may say otherwise."""
    return value if type(value) is str else str.__str__(value)


def fault(name: str, names: Names = "posix") -> str | None:
    """What is wrong with a name, to be read after it; None if it can be unpacked.

    "posix" refuses what could be unpacked elsewhere than in the folder one unpacks to, and what a
    format can't write. "portable" refuses as well what Windows or macOS can't have or read as
    something else, and what hides the true extension from a reader.
    """
    return _unsafe(name) or (_unportable(name) if names == "portable" else None)


def _unsafe(name: str) -> str | None:
    if not name:
        return "is empty"
    if "\\" in name:
        return "has a backslash, which some readers take for a separator"
    if name.startswith("/") or _DRIVE.match(name):
        return "is absolute"
    if odd := _ODD_PART.search(name.removesuffix("/")):
        return f"has the part {odd[1]!r}, so that it could be unpacked elsewhere"
    if control := _CONTROL.search(name):
        return f"has the control character {control[0]!r}"
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, which UTF-8 can't tell"
    return f"takes {length} bytes, and {LONGEST} is the most" if length > LONGEST else None


def _unportable(name: str) -> str | None:
    if found := _FORBIDDEN.search(name):
        stream = ", where what follows it becomes a hidden stream" if found[0] == ":" else ""
        return f"has {found[0]!r}, which Windows doesn't allow{stream}"
    if found := _ENDS_BADLY.search(name):
        what = "a space" if found[0] == " " else "a dot"
        return f"has a part that ends with {what}, which Windows drops"
    if found := _DEVICE.search(name):
        return f"has the part {found[1].rstrip()!r}, which is a device on Windows"
    if found := _DISGUISE.search(name):
        return f"has {found[0]!a}, which makes it show as another name"
    if len(name) * 4 > LONGEST_PART:
        longest = max(len(part.encode()) for part in name.split("/"))
        if longest > LONGEST_PART:
            return f"has a part of {longest} bytes, and most file systems take {LONGEST_PART}"
    return None


def link_fault(name: str, target: str) -> str | None:
    """What is wrong with the target of the symbolic link `name`; None if it stays in the archive.

    `..` may only lead: after another part it would depend on what that part is a link to.
    """
    if target.startswith("/") or _DRIVE.match(target):
        return "is absolute"
    if "\\" in target:
        return "has a backslash, which some readers take for a separator"
    if not target:
        return "is empty"
    parts = [part for part in target.split("/") if part not in ("", ".")]
    climbs = next((i for i, part in enumerate(parts) if part != ".."), len(parts))
    if climbs > name.count("/"):
        return "leads out of the archive"
    if ".." in parts[climbs:]:
        return "has '..' after another part, which may be a link itself"
    if control := _CONTROL.search(target):
        return f"has the control character {control[0]!r}"
    return _too_long(target)


def _too_long(target: str) -> str | None:
    try:
        length = len(target.encode())
    except UnicodeEncodeError:
        return "has a lone surrogate, which UTF-8 can't tell"
    # PATH_MAX of Linux, with its NUL.
    return f"takes {length} bytes, and 4095 is the most" if length > 4095 else None


class _Kind(Enum):
    FILE = "a file"
    IMPLIED = "a directory"  # it is part of another name
    DIRECTORY = "a directory, too"


@dataclass(slots=True)
class _Node:
    parent: int
    part: str
    kind: _Kind


class NameChecker:
    """The names of one archive, checked as they arrive: `admit` each one, in order.

    `names`: "portable" compares without regard to case and Unicode normal form, as Windows and
    macOS do; "posix" compares as Linux does. `duplicates`: "error", or "rename" for a number
    before the extension: `a.txt`, `a (2).txt`.

        checker = NameChecker(names="portable", duplicates="rename")
        checker.admit("A.txt"), checker.admit("a.txt")  # "A.txt", "a (2).txt"
    """

    def __init__(self, names: Names, duplicates: Duplicates) -> None:
        self._names: Names = names
        self._rename = duplicates == "rename"
        # A tree without nesting: a node's number and a part's key give the number below.
        self._below: dict[tuple[int, str], int] = {}
        self._nodes = [_Node(-1, "", _Kind.DIRECTORY)]
        # Directories that stand beside a file of their name, by the file's number.
        self._moved: dict[int, int] = {}
        self._numbers: dict[tuple[int, str], int] = {}

    def admit(self, name: str) -> str:
        """The name to write: the given one, or one that is free if it is to be renamed.

        Raises `ValueError` for a name that can't be unpacked, alone or beside the others.
        """
        if problem := fault(name, self._names):
            raise ValueError(f"member name {name!r:.200} {problem}; {self._way_out(name)}")
        parts = name.removesuffix("/").split("/")
        parent = 0
        for part in parts[:-1]:
            parent = self._directory(parent, part, name)
        kind = _Kind.DIRECTORY if name.endswith("/") else _Kind.FILE
        node = self._below.get((parent, self._key(parts[-1])))
        if node is not None and kind is _Kind.DIRECTORY and self._nodes[node].kind is _Kind.FILE:
            node = self._directory(parent, parts[-1], name)
        if node is None:
            self._add(parent, parts[-1], kind)
            if not self._moved:
                return name
            node = len(self._nodes) - 1
        elif kind is _Kind.DIRECTORY and self._nodes[node].kind is _Kind.IMPLIED:
            self._nodes[node].kind = kind
        elif self._rename:
            node = self._add_free(parent, parts[-1], kind)
        else:
            raise self._clash(name, kind, node)
        return self._path(node, parts) + "/" * (kind is _Kind.DIRECTORY)

    def _way_out(self, name: str) -> str:
        if fault(name):
            return "a name is a path inside the archive, such as 'docs/a.txt'"
        return "name it otherwise, or pass names='posix' to the response if only Linux unpacks it"

    def _directory(self, parent: int, part: str, name: str) -> int:
        found = self._below.get((parent, self._key(part)))
        if found is None:
            return self._add(parent, part, _Kind.IMPLIED)
        if self._nodes[found].kind is not _Kind.FILE:
            return found
        if not self._rename:
            raise self._clash(name, _Kind.IMPLIED, found)
        if found not in self._moved:
            self._moved[found] = self._add_free(parent, part, _Kind.IMPLIED)
        return self._moved[found]

    def _add(self, parent: int, part: str, kind: _Kind) -> int:
        node = self._below[parent, self._key(part)] = len(self._nodes)
        self._nodes.append(_Node(parent, part, kind))
        return node

    def _add_free(self, parent: int, part: str, kind: _Kind) -> int:
        stem, extension = _split(part) if kind is _Kind.FILE else (part, "")
        stem = _shortened(stem, extension)
        # The next number is remembered, so that many of one name stay linear.
        counted = parent, self._key(f"{stem}/{extension}")
        number = self._numbers.get(counted, 2)
        while (parent, self._key(f"{stem} ({number}){extension}")) in self._below:
            number += 1
        self._numbers[counted] = number + 1
        return self._add(parent, f"{stem} ({number}){extension}", kind)

    def _path(self, node: int, given: list[str] | None = None) -> str:
        """The whole name of a node, its parts spelled as in `given` where they are the same."""
        parts: list[str] = []
        while node:
            part = self._nodes[node].part
            if given is not None:
                spelled = given[-1 - len(parts)]
                part = spelled if self._key(spelled) == self._key(part) else part
            parts.append(part)
            node = self._nodes[node].parent
        return "/".join(reversed(parts))

    def _key(self, part: str) -> str:
        if self._names == "posix":
            return part
        if part.isascii():
            return part.lower()
        # Canonical caseless matching (Unicode 3.13, D145).
        decomposed = unicodedata.normalize("NFD", _IGNORED.sub("", part))
        return unicodedata.normalize("NFD", decomposed.casefold())

    def _clash(self, name: str, kind: _Kind, node: int) -> ValueError:
        other, other_kind = self._path(node), self._nodes[node].kind
        if other_kind is _Kind.FILE and kind is not _Kind.FILE:
            return ValueError(
                f"the archive has {other!r:.200} as a file already, and {name!r:.200} needs a "
                f"directory of that name; rename one, or pass duplicates='rename' to the response"
            )
        if kind is _Kind.FILE and other_kind is not _Kind.FILE:
            return ValueError(
                f"the archive has {other!r:.200} as a directory already, and {name!r:.200} is a "
                f"file; rename one, or pass duplicates='rename' to the response"
            )
        if other == name.removesuffix("/"):
            return ValueError(
                f"the archive has a member {name!r:.200} already; give each member a name of its "
                f"own, because readers keep only one of two, or pass duplicates='rename' to the "
                f"response"
            )
        return ValueError(
            f"the archive has a member {other!r:.200} already, and {name!r:.200} is the same name "
            f"on Windows and macOS; rename one, or pass duplicates='rename' or names='posix' to "
            f"the response"
        )


def _split(part: str) -> tuple[str, str]:
    """A file's name and its extension, of which ".tar.gz" is one."""
    dot = part.rfind(".")
    if part[:dot].lower().endswith(".tar"):
        dot -= 4
    # What is long is no extension, and a name may begin with its only dot.
    return (part[:dot], part[dot:]) if dot > 0 and len(part) - dot <= 20 else (part, "")


def _shortened(stem: str, extension: str) -> str:
    """A stem with room for a number, so that a name which fits in a folder goes on doing so."""
    most = LONGEST_PART - len(extension.encode()) - len(" (1000000)")
    encoded = stem.encode()
    if most < len(encoded) <= LONGEST_PART:
        return encoded[:most].decode(errors="ignore")
    return stem
