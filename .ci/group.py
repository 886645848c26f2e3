"""Print the requirements of a dependency group, one a line, without the groups it includes."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"

groups = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["dependency-groups"]
for requirement in groups[sys.argv[1]]:
    if isinstance(requirement, str):
        print(requirement)
