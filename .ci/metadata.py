"""Hatch calls this at build: the address of the repository in the package's metadata.

A release knows its address (GitHub's workflow says it), a build on a developer's machine does
not. With an address, the relative links of the README become absolute, so that they work on the
page of an index, and the package gets its project links. Without one the README stays as it is.

`STREAMKIT_REPOSITORY` gives the address elsewhere than on GitHub: https://host/owner/name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

# [text](target) and ![text](target), but for targets with a scheme and those within the page.
LINK = re.compile(r"(!?\[[^]]*\]\()(?!\w+:|#)([^)]+\))")


class RepositoryHook(MetadataHookInterface):
    """Sets `readme` and `urls`, which pyproject.toml declares as dynamic."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        address, revision = repository(os.environ)
        if address:
            text = absolute_links(text, address, revision)
            metadata["urls"] = project_urls(address, revision)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def repository(environ: Mapping[str, str]) -> tuple[str | None, str]:
    """The repository's address, or None, and the revision that links name."""
    address = environ.get("STREAMKIT_REPOSITORY")
    if not address and "GITHUB_REPOSITORY" in environ:
        address = f"{environ['GITHUB_SERVER_URL']}/{environ['GITHUB_REPOSITORY']}"
    return address, environ.get("GITHUB_SHA", "HEAD")


def absolute_links(text: str, address: str, revision: str) -> str:
    """Markdown whose relative links name a file of the repository; images are its raw files."""

    def absolute(found: re.Match[str]) -> str:
        kind = "raw" if found[1].startswith("!") else "blob"
        return f"{found[1]}{address}/{kind}/{revision}/{found[2]}"

    return LINK.sub(absolute, text)


def project_urls(address: str, revision: str) -> dict[str, str]:
    """The project links that an index shows beside the README."""
    return {
        "Documentation": f"{address}/blob/{revision}/docs/index.md",
        "Source": address,
        "Changelog": f"{address}/blob/{revision}/CHANGELOG.md",
        "Issues": f"{address}/issues",
    }
