"""Answers, read as a client reads them, and the headers that they have."""

from __future__ import annotations

from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

from tests.http.test_byteranges import parse_multipart
from tests.ranges.app import DATE, SIZE


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def parts(self) -> list[tuple[str | None, bytes]]:
        """Content-Range and bytes of each part; a single range is one."""
        if "content-range" in self.headers:
            return [(self.headers["content-range"], self.body)]
        kind = self.headers["content-type"].encode()
        assert kind.startswith(b"multipart/byteranges; boundary=")
        parts = parse_multipart(kind, self.body)
        assert {part["content-type"] for part in parts} == {"application/x-data"}
        return [(part["content-range"], part_bytes(part)) for part in parts]


def part_bytes(part: Any) -> bytes:
    body = part.get_payload(decode=True)
    assert isinstance(body, bytes)
    return body


def ask(
    connection: HTTPConnection, place: str, fields: dict[str, str], method: str = "GET"
) -> Answer:
    connection.request(method, f"/{place}", headers=fields)
    response = connection.getresponse()
    headers = {name.lower(): value for name, value in response.getheaders()}
    body = response.read()
    if method != "HEAD" and "content-length" in headers:
        assert len(body) == int(headers["content-length"])
    for name in ("date", "server"):
        headers.pop(name, None)
    return Answer(response.status, headers, body)


TYPE = {"content-type": "application/x-data"}
TAGGED = {"etag": '"v7"', "last-modified": DATE}
WHOLE = TYPE | TAGGED | {"accept-ranges": "bytes", "content-length": str(SIZE)}
