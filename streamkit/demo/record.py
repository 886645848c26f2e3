"""The server's record: what each stream has sent, how it ended, and which files are open."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, ClassVar, TextIO
from urllib.parse import parse_qs

import anyio
from fastapi import Request, Response
from fastapi.routing import APIRouter
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamkit import ServerSentEvent, StreamingResponse, StreamOutcome, open_streams
from streamkit.fastapi import StreamRoute

__all__ = [
    "Entry",
    "PlannedFailure",
    "Record",
    "RecordedRoute",
    "SourceRoute",
    "Wire",
    "record",
    "routes",
]

KEPT = 40  # streams that have ended, and are still told to a page that opens
TICK = 0.1  # seconds between two events
MARKS, MARK_WIDTH = 200, 20  # marks of a stream, and the milliseconds that one stands for
# Browsers then show text as it arrives, instead of gathering some to guess its type.
NO_SNIFFING = {"x-content-type-options": "nosniff"}


class PlannedFailure(Exception):
    """What a content raises for the page's "Make it fail"."""


@dataclass
class Entry:
    """The facts about one stream. `made` and `sent` are bytes; `play` is the page's name for it.

    A mark is [version, milliseconds, bytes], and grows until its milliseconds are over.
    """

    path: str
    play: str
    versions: count[int]
    number: int = 0
    version: int = 0
    began: float = field(default_factory=time.monotonic)
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    made: int = 0
    noticed: int = 0
    sent: int = 0
    chunks: int = 0
    ended: dict[str, Any] | None = None
    marks: deque[list[int]] = field(default_factory=lambda: deque(maxlen=MARKS))

    def touch(self) -> None:
        """Let the pages hear of a change."""
        self.version = next(self.versions)

    def add_made(self, size: int) -> None:
        """Count what the content has made, on whichever thread, perhaps ahead of what was sent."""
        self.made += size

    def notice(self) -> None:
        """Look at what was counted elsewhere. All else happens on the event loop."""
        if self.noticed != self.made:
            self.noticed = self.made
            self.touch()

    def add_sent(self, message: Message) -> None:
        """Note a message that is handed to the server."""
        self.touch()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            pairs = message["headers"]
            self.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in pairs]
        elif size := len(message.get("body", b"")):
            self.sent += size
            self.chunks += 1
            self._mark(size)

    def _mark(self, size: int) -> None:
        elapsed = round((time.monotonic() - self.began) * 1000)
        at = elapsed - elapsed % MARK_WIDTH
        if self.marks and self.marks[-1][1] == at:
            size += self.marks.pop()[2]
        self.marks.append([self.version, at, size])

    def close(self, outcome: StreamOutcome) -> None:
        """Note how the stream ended: an `on_close`."""
        error = None if outcome.error is None else repr(outcome.error)
        self.ended = asdict(outcome) | {"error": error}
        self.touch()

    def since(self, version: int) -> dict[str, Any]:
        """What a page is told that knows the record up to a version."""
        names = ("number", "path", "play", "status", "headers", "made", "sent", "chunks", "ended")
        # A page that has just been opened wants no history of chunks.
        marks = [mark[1:] for mark in self.marks if mark[0] > version] if version else []
        return {name: getattr(self, name) for name in names} | {"marks": marks}


class Record:
    """The streams that are open, the latest that have ended, and the files that are open."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._files: list[TextIO] = []
        self._versions = count(1)
        self._numbers = count(1)
        # An id from before a restart means nothing here.
        self._born = f"{time.time_ns():x}"

    def open_file(self, path: Path) -> TextIO:
        """Open a text file, which the caller closes, and count it while it is open."""
        file = path.open(encoding="utf-8")
        self._files = [file, *(file for file in self._files if not file.closed)]
        return file

    def open_files(self) -> int:
        return sum(not file.closed for file in self._files)

    def prepare(self, scope: Scope) -> Entry:
        """An entry for a request; it is shown from when it has a stream."""
        [play, *_] = parse_qs(scope["query_string"].decode("latin-1")).get("play", [""])
        return Entry(
            scope["path"].removeprefix(scope.get("root_path", "")), play[:40], self._versions
        )

    def enter(self, entry: Entry) -> None:
        """Show an entry."""
        ended = [old for old in self._entries if old.ended][-KEPT:]
        self._entries = [*ended, *(old for old in self._entries if not old.ended), entry]
        entry.number = next(self._numbers)
        entry.touch()

    def last_outcome(self) -> str:
        """How the stream ended that was the last to end."""
        ended = [entry for entry in self._entries if entry.ended]
        if not ended:
            return "none yet"
        last = max(ended, key=lambda entry: entry.version).ended
        assert last
        told = f"{last['reason']} after {last['duration']:.1f} s, {last['bytes_sent']} bytes sent"
        return f"{told}, {last['error']}" if last["error"] else told

    def waiting(self) -> dict[str, int]:
        """How many streams are open now, by what they wait for; a page's news don't count."""
        return dict(Counter(one.waiting for one in open_streams() if one.route != "/record"))

    async def events(self, last_id: str | None) -> AsyncIterator[ServerSentEvent]:
        """What has changed, ten times a second at most: a page that is slow hears less often."""
        born, _, version = (last_id or "").partition("-")
        seen = int(version) if born == self._born and version.isdecimal() else 0
        told_waiting: dict[str, int] | None = None
        while True:
            for entry in self._entries:
                entry.notice()
            changed = [entry for entry in self._entries if entry.version > seen]
            waiting = self.waiting()
            if changed or not seen or waiting != told_waiting:
                known, seen, told_waiting = seen, next(self._versions), waiting
                told = {
                    "first": not known,
                    "waiting": waiting,
                    "open_files": self.open_files(),
                    "streams": [entry.since(known) for entry in changed],
                }
                yield ServerSentEvent(told, id=f"{self._born}-{seen}", retry=1000)
            await anyio.sleep(TICK)


record: Record = Record()


class Wire:
    """ASGI middleware that notes, for the record, what goes out to the server and when."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        entry = record.prepare(scope)
        scope.setdefault("state", {})["stream"] = entry

        async def noting(message: Message) -> None:
            entry.add_sent(message)
            await send(message)

        await self.app(scope, receive, noting)


class RecordedRoute(StreamRoute):
    """Gives each response its `on_close`, so that the record hears how it ended."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_recorded(request: Request) -> Response:
            response = await handle(request)
            if isinstance(response, StreamingResponse):
                entry: Entry = request.state.stream
                record.enter(entry)
                response.on_close = entry.close
                response.headers.update(NO_SNIFFING)
            return response

        return handle_recorded


class SourceRoute(RecordedRoute):
    """One whose response can be read from the middle, as `/docs` then says."""

    serves_source: ClassVar[bool | None] = True


def routes(route_class: type[RecordedRoute] = RecordedRoute) -> APIRouter:
    """A router whose streams are recorded."""
    return APIRouter(route_class=route_class)
