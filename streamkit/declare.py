"""Options of the response classes: each is declared once, as a field of a TypedDict.

    class ResponseOptions(TypedDict, total=False):
        max_buffer: Annotated[int, Option(65536, whole_number, "bytes", "How far ...")]

The class attribute's default, the keyword argument, the check of both, the reference page and the
README's table come from that field. A class names its TypedDict in `options`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

__all__ = [
    "Option",
    "anything",
    "bind",
    "byte_count",
    "check_all",
    "configure",
    "flag",
    "function",
    "one_of",
    "options_of",
    "seconds",
    "some_seconds",
    "some_text",
    "whole_number",
]

Check = Callable[[str, Any], None]


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its default, the check of its values, its unit, and what it does.

    `arguments` is for a function: how many arguments it is called with. On a class it may be a
    method too, which then gets the response before them.
    """

    default: Any
    check: Check
    unit: str = ""
    text: str = ""
    arguments: int | None = None


@functools.cache
def options_of(declared: type) -> dict[str, Option | None]:
    """The fields of a TypedDict, and their options."""
    found: dict[str, Option | None] = {}
    for name, hint in get_type_hints(declared, include_extras=True).items():
        metadata = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        found[name] = next((each for each in metadata if isinstance(each, Option)), None)
    return found


def check_all(holder: Any, declared: type) -> None:
    """Check what a class, or a response, has for its options."""
    for name, option in options_of(declared).items():
        if option is not None:
            option.check(name, getattr(holder, name, option.default))


def configure(holder: Any, declared: type, given: Mapping[str, Any]) -> None:
    """Check the options that are given to a response, and set them on it."""
    if not given:
        return
    known = options_of(declared)
    for name, value in given.items():
        if name not in known:
            raise TypeError(
                f"{type(holder).__name__}() got an unexpected keyword argument {name!r}; "
                f"its options are {', '.join(sorted(known))}"
            )
        if (option := known[name]) is not None:
            option.check(name, value)
        setattr(holder, name, value)


def bind(holder: Any, name: str, option: Option | None = None) -> Any:
    """A function from a class or a response, ready to be called with its arguments.

    On a class, a lambda or function takes the arguments; one whose first parameter is `self`, or
    which takes one argument more, is a method.
    """
    if name in holder.__dict__:
        return holder.__dict__[name]
    found = next(c.__dict__[name] for c in type(holder).__mro__ if name in c.__dict__)
    if isinstance(found, staticmethod):
        return found.__func__
    if isinstance(found, classmethod):
        return found.__get__(None, type(holder))
    arguments = 1 if option is None or option.arguments is None else option.arguments
    if inspect.isfunction(found) and _is_method(found, arguments):
        return found.__get__(holder)
    return found


@functools.cache
def _is_method(found: Callable[..., Any], arguments: int) -> bool:
    parameters = list(inspect.signature(found).parameters.values())
    if parameters and parameters[0].name == "self":
        return True
    needed = [
        each
        for each in parameters
        if each.default is each.empty
        and each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == arguments + 1


def anything(name: str, value: Any) -> None:
    """Any value; the code that uses it checks it."""


def whole_number(name: str, value: Any) -> None:
    """A positive `int`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {type(value).__name__}: {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be a positive number, got {value!r}")


def byte_count(name: str, value: Any) -> None:
    """A positive `int`, of bytes."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a number of bytes, got {type(value).__name__}: {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def seconds(name: str, value: Any) -> None:
    """None, or a number that is 0 or more."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{name} must be None or a number of seconds, got {type(value).__name__}: {value!r}"
        )
    # NaN compares false with everything.
    if not value >= 0:
        raise ValueError(f"{name} must be None or 0 or more seconds, got {value!r}")


def some_seconds(name: str, value: Any) -> None:
    """None, or a number above 0."""
    seconds(name, value)
    if value == 0:
        raise ValueError(f"{name} must be more than 0 seconds, or None for no limit, got {value!r}")


def flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {type(value).__name__}: {value!r}")


def some_text(name: str, value: Any) -> None:
    """None, or a `str`."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {type(value).__name__}: {value!r}")


def function(name: str, value: Any) -> None:
    """None, or something to call."""
    if value is not None and not callable(getattr(value, "__func__", value)):
        raise TypeError(f"{name} must be callable, got {type(value).__name__}: {value!r}")


def one_of(*values: Any) -> Check:
    """A check for one of some values."""

    def check(name: str, value: Any) -> None:
        if value not in values:
            choice = ", ".join(map(repr, values))
            raise ValueError(f"{name} must be one of {choice}, got {value!r}")

    return check
