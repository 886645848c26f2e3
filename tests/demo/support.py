"""The demo's routes, and a reader of its page."""

from __future__ import annotations

from html.parser import HTMLParser

SHOWN = ["/drawing.png", "/tokens", "/slow-file", "/race/streamkit", "/firehose"]
SHOWN += [
    "/readings.jsonl",
    "/clock",
    "/lasting",
    "/counter",
    "/pictures",
    "/film.mp4",
    "/melody.wav",
    "/readings.csv",
]
SHOWN += ["/export.zip", "/gibibyte.bin", "/objects/brook.txt"]
SHOWN += ["/compressed.jsonl", "/limited"]
OTHERS = ["/lines", "/megabytes.bin", "/archive.zip", "/answer", "/report.pdf", "/open-files"]
PATHS = [*SHOWN, *OTHERS]


class Page(HTMLParser):
    """The tags, links and texts of a page; fails where tags do not match."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        # What stands in <code>, and what stood in the last caption before it.
        self.sources: list[str] = []
        self.places: list[str] = []
        self._place = ""
        self._open: list[str] = []
        self.feed(html)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self._open.append(tag)
        if tag == "code":
            self.sources.append("")
            self.places.append(self._place)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if "code" in self._open:
            self.sources[-1] += data
        elif self._open[-1:] == ["figcaption"]:
            self._place = data

    def attributes(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]
