"""Print the lowest versions that pyproject.toml allows, as constraints for pip."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PIN = re.compile(r"([\w.-]+)(?:\[[\w,.-]+\])?\s*>=\s*([\w.]+)")

project = tomllib.loads(Path(sys.argv[1]).read_text())["project"]
for requirement in project["dependencies"] + project["optional-dependencies"]["demo"]:
    pin = PIN.match(requirement)
    if pin is None:
        sys.exit(f"{requirement!r} has no lowest version: write it as name>=version")
    print(f"{pin[1]}=={pin[2]}")
