"""Print the lowest versions that pyproject.toml allows, of all extras, as constraints for pip."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PIN = re.compile(r"([\w.-]+)(?:\[[\w,.-]+\])?\s*>=\s*([\w.]+)")

project = tomllib.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["project"]
extras = project["optional-dependencies"].values()
requirements = {*project["dependencies"], *(each for extra in extras for each in extra)}
for requirement in sorted(requirements):
    # An extra that names others of ours.
    if requirement.startswith(f"{project['name']}["):
        continue
    pin = PIN.match(requirement)
    if pin is None:
        sys.exit(f"{requirement!r} has no lowest version: write it as name>=version")
    print(f"{pin[1]}=={pin[2]}")
