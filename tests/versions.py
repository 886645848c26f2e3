"""The versions of what we stand on, where an older one does something that a test would see."""

from __future__ import annotations

from importlib.metadata import version

from packaging.version import Version

STARLETTE = Version(version("starlette")).release
ANYIO = Version(version("anyio")).release
