"""Whether the arguments of `Live` make sense."""

from __future__ import annotations

__all__ = ["check_channel", "check_gap", "check_id", "check_seconds", "checked_path"]


def check_seconds(name: str, value: object, *, least: float = 0.0) -> None:
    """Raise for what is no number of seconds, or too few."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not value >= least:
        raise ValueError(f"{name} must be {least or 0} or more seconds, got {value!r}")


def check_id(value: object, name: str = "id") -> None:
    """Raise for what can't name a run or a channel."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, got {type(value).__name__}: {value!r:.60}")
    if not value or len(value) > 512 or not value.isprintable():
        raise ValueError(
            f"{name} must be 1 to 512 printable characters, got {value!r:.60}; hash what is longer"
        )


def checked_path(name: str, value: object) -> str:
    """A path without a slash at its end; raises for what is none."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be str, got {type(value).__name__}")
    if value and not value.startswith("/"):
        raise ValueError(f"{name} must start with a slash, got {value!r}")
    return value.rstrip("/")


def check_gap(gap: object) -> None:
    """Raise for a `gap` that is neither None nor "event"."""
    if gap is not None and gap != "event":
        raise ValueError(f"gap must be None (a 410) or 'event', got {gap!r}")


def check_channel(history: object, max_age: object, on_slow: object) -> None:
    """Raise for what can't be a channel's options."""
    if isinstance(history, bool) or not isinstance(history, int):
        raise TypeError(f"history must be a number of items, got {history!r}")
    if history < 0:
        raise ValueError(f"history must be 0 or more items, got {history}")
    if max_age is not None:
        check_seconds("max_age", max_age, least=0.001)
    if on_slow not in ("cut", "gap", "latest"):
        raise ValueError(f"on_slow must be 'cut', 'gap' or 'latest', got {on_slow!r}")
