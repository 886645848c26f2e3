"""The programs of the README and of docs/: where they are, and how to run them.

    python -m tests.documentation FOLDER

writes each into a module of its own, with a configuration for mypy and pyright.
"""

from __future__ import annotations

import json
import re
import runpy
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from streamkit.testing import FetchedResponse, fetch, stream

__all__ = [
    "EXAMPLES",
    "FILM",
    "PAGES",
    "ROOT",
    "Program",
    "get",
    "leave",
    "programs",
    "read_until_enough",
    "run_example",
    "run_program",
]

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
# Seconds and bytes after which a client leaves a stream that has no end.
LEAVE_AFTER, ENOUGH = 0.3, 1_000_000
