"""Which descriptors a process has open, and leave for more of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class many_descriptors:  # noqa: N801 (a context manager)
    """As many open files as this user may have; a server that is started inherits it."""

    def __enter__(self) -> None:
        if sys.platform == "win32":
            return
        import resource

        self.limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        soft, hard = self.limit
        enough = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, enough), hard))

    def __exit__(self, *exc_info: object) -> None:
        if sys.platform != "win32":
            import resource

            resource.setrlimit(resource.RLIMIT_NOFILE, self.limit)


def opened_by(process: int | str, folder: Path) -> list[str]:
    """The files below a folder that a process has open."""
    found = []
    for name in os.listdir(f"/proc/{process}/fd"):
        try:
            target = os.readlink(f"/proc/{process}/fd/{name}")
        except FileNotFoundError:
            continue
        if target.startswith(str(folder)):
            found.append(target)
    return found


def count_descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))
