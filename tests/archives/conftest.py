"""What the tests of archives share."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from streamkit.archives import TARStreamingResponse, ZIPStreamingResponse
from tests.archives.members import (
    body_of,
    every_kind,
    fill,
    tool,
)

JAVA = """
import java.util.zip.*;
public class Unzip {
    public static void main(String[] args) throws Exception {
        ZipInputStream zip = new ZipInputStream(System.in);
        byte[] buffer = new byte[1 << 16];
        for (ZipEntry entry; (entry = zip.getNextEntry()) != null; ) {
            CRC32 crc = new CRC32();
            long size = 0;
            for (int n; (n = zip.read(buffer)) > 0; size += n) crc.update(buffer, 0, n);
            System.out.println(entry.getName() + "\\t" + size + "\\t" + crc.getValue());
        }
    }
}
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return fill(tmp_path)


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    directory = tmp_path_factory.mktemp("java")
    (directory / "Unzip.java").write_text(JAVA)
    subprocess.run([tool("javac"), "Unzip.java"], cwd=directory, check=True)
    return [
        tool("java"),
        "-Dfile.encoding=UTF-8",
        "-Dstdout.encoding=UTF-8",
        "-cp",
        str(directory),
        "Unzip",
    ]


@pytest.fixture(scope="module")
def archive_of_every_kind(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, bytes]:
    directory = tmp_path_factory.mktemp("kinds")
    fill(directory)
    return {
        response_class: anyio.run(body_of, response_class(every_kind(directory)))
        for response_class in (ZIPStreamingResponse, TARStreamingResponse)
    }
