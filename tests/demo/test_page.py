"""The gallery's page shows each route with its source, and its record what is sent."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import anyio
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.types import ASGIApp

import streamkit
from streamkit.demo import app as demo
from streamkit.demo.cards import CARDS
from streamkit.demo.page import STATIC
from streamkit.demo.record import KEPT
from streamkit.demo.source import highlight
from streamkit.testing import fetch, stream
from tests.demo.support import PATHS, Page


async def fetch_page(app: ASGIApp, path: str = "/", host: str = "testserver") -> Page:
    response = await fetch(app, path, headers={"host": host})
    assert (response.status, response.complete) == (200, True)
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return Page(response.body.decode())


@pytest.mark.anyio
class TestIndexPage:
    async def test_links_every_live_route(self) -> None:
        page = await fetch_page(demo.app)
        links = [str(link["href"]) for link in page.attributes("a")]
        assert [f"/{link}" for link in links if not link.startswith("#")] == PATHS
        # The others lead to the cards.
        targets = {heading["id"] for heading in page.attributes("h2")}
        assert {link[1:] for link in links if link.startswith("#")} < targets

    async def test_shows_the_source_of_each_route_and_where_it_stands(self) -> None:
        page = await fetch_page(demo.app)
        for path in [*PATHS, "/race/starlette"]:
            route = path.replace("brook.txt", "{key}")
            [source] = [
                t for t in page.sources if re.match(rf'@\w+\.get\(\s*"{re.escape(route)}"', t)
            ]
            assert source.splitlines() == lines_at(place_before(source, page), source)

    async def test_shows_what_a_route_uses_as_well(self) -> None:
        page = await fetch_page(demo.app)
        for start in ("class NumberedLines(ByteSource)", "class StoredObject(ByteSource)"):
            [source] = [text for text in page.sources if text.startswith(start)]
            assert source.splitlines() == lines_at(place_before(source, page), source)
        assert any(text.startswith("class RecordedRoute(") for text in page.sources)

    async def test_shows_commands_for_the_host_that_was_asked(self) -> None:
        page = await fetch_page(demo.app, host="example.org:81")
        commands = [shlex.split(text) for text in page.sources if text.startswith("curl")]
        urls = [f"http://example.org:81{path}" for path in PATHS]
        assert [command[:3] for command in commands] == [["curl", "-N", url] for url in urls]
        # curl writes no binary to a terminal
        written = {command[2].rpartition("/")[2]: command[3:] for command in commands}
        assert written["drawing.png"] == ["--output", "drawing.png"]
        assert written["lines"] == written["clock"] == written["readings.jsonl"] == []

    async def test_a_hostile_host_stays_text(self) -> None:
        page = await fetch_page(demo.app, host="x';<script>alert(1)</script>")
        assert page.attributes("script") == [{"type": "module", "src": "static/gallery.js"}]

    async def test_works_under_another_path(self) -> None:
        app = Starlette(routes=[Mount("/demo", demo.app)])
        page = await fetch_page(app, "/demo/")
        assert {"href": "drawing.png"} in page.attributes("a")
        assert (await fetch(app, "/demo/static/gallery.js")).status == 200
        assert "curl -N http://testserver/demo/lines" in page.sources
        async with stream(app, "/demo/lines?play=mounted") as client:
            await anext(client)
            told = await first_event("/record")
        assert [s["path"] for s in told["streams"] if s["play"] == "mounted"] == ["/lines"]

    async def test_is_accessible_and_loads_nothing_from_elsewhere(self) -> None:
        page = await fetch_page(demo.app)
        assert page.attributes("html") == [{"lang": "en"}]
        assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in (
            page.attributes("meta")
        )
        assert len(page.attributes("h1")) == len(page.attributes("main")) == 1
        headings = {h["id"] for level in ("h2", "h3") for h in page.attributes(level)}
        named = [*page.attributes("article"), *page.attributes("section")]
        assert {element["aria-labelledby"] for element in named} == headings
        # What scrolls sideways can be scrolled with the keyboard, and has a name.
        assert all(pre["tabindex"] == "0" and pre["aria-label"] for pre in page.attributes("pre"))
        assert [link["href"] for link in page.attributes("link")] == [
            "data:,",
            "static/gallery.css",
        ]
        # Nothing streams before somebody plays it.
        sources = [attributes["src"] for _, attributes in page.tags if "src" in attributes]
        loaded = [source for source in sources if not source.startswith("data:")]
        assert loaded == ["static/gallery.js"]
        # Buttons of one name are told apart by the heading above them.
        buttons = [b for b in page.attributes("button") if b.get("id") != "theme"]
        assert {button["aria-describedby"] for button in buttons} < headings
        assert all(image["alt"] for image in page.attributes("img"))
        for tag in ("video", "audio", "canvas", "ol"):
            assert all(element["aria-label"] for element in page.attributes(tag))

    async def test_its_files_are_revalidated_and_nothing_else_is_served(self) -> None:
        for name, media_type in [("gallery.js", "text/javascript"), ("gallery.css", "text/css")]:
            file = await fetch(demo.app, f"/static/{name}")
            assert file.headers["content-type"] == f"{media_type}; charset=utf-8"
            assert file.headers["cache-control"] == "no-cache"
            known = {"if-none-match": file.headers["etag"]}
            assert (await fetch(demo.app, f"/static/{name}", headers=known)).status == 304
        for name in ("page.html", "..%2Fapp.py", "other.js"):
            assert (await fetch(demo.app, f"/static/{name}")).status == 404

    async def test_each_card_has_a_script(self) -> None:
        scripts = "".join(path.read_text("utf-8") for path in STATIC.glob("*.js"))
        assert all(f"export class {card.view} " in scripts for card in CARDS)


def place_before(source: str, page: Page) -> str:
    """The last `name.py:line` above a source."""
    return page.places[page.sources.index(source)]


def lines_at(place: str, source: str) -> list[str]:
    """As many lines as `source` has, from a place in the package."""
    name, line = place.split(":")
    lines = (Path(streamkit.__file__).parents[1] / name).read_text("utf-8").splitlines()
    return lines[int(line) - 1 :][: len(source.splitlines())]


def test_colours_leave_the_source_as_it_is() -> None:
    sources = [path.read_text("utf-8") for path in STATIC.parent.glob("*.py")]
    sources.append('f"{{{1 + 2}}} \\N{dagger} {x!r:>{w}}"  # <b>&amp;\n')
    for source in sources:
        html = highlight(source)
        assert "".join(Page(f"<pre>{html}</pre>").texts) == source
    assert highlight("def f(): return PNGStreamingResponse(0)", ["PNGStreamingResponse"]) == (
        '<span class="key">def</span> <span class="name">f</span>(): '
        '<span class="key">return</span> <span class="ours">PNGStreamingResponse</span>'
        '(<span class="num">0</span>)'
    )


async def first_event(path: str, last_id: str | None = None) -> Any:
    headers = {"last-event-id": last_id} if last_id else {}
    async with stream(demo.app, path, headers=headers) as client:
        return await next_event(client)


async def next_event(client: Any) -> Any:
    text = ""
    while not (found := re.search(r"id: (.+)\n(?:.+\n)*?data: (.+)\n\n", text)):
        text += (await anext(client)).decode()
    return json.loads(found[2]) | {"id": found[1]}


@pytest.mark.anyio
class TestRecord:
    async def test_tells_what_is_sent_and_how_it_ended(self) -> None:
        async with stream(demo.app, "/record") as page:
            assert (await next_event(page))["first"]
            async with stream(demo.app, "/tokens?play=mine") as client:
                await anext(client)
                told = await next_event(page)
                [entry] = told["streams"]
                assert sum(told["waiting"].values()) == 1
                assert (entry["path"], entry["play"], entry["status"]) == ("/tokens", "mine", 200)
                assert ["content-type", "text/plain; charset=utf-8"] in entry["headers"]
                assert entry["sent"] == sum(size for _, size in entry["marks"]) > 0
                assert entry["ended"] is None
            while entry["ended"] is None:
                told = await next_event(page)
                [entry] = told["streams"] or [entry]
            while told["waiting"]:
                told = await next_event(page)
        assert entry["ended"]["reason"] == "disconnect"
        assert entry["ended"]["bytes_sent"] == entry["sent"]

    async def test_tells_what_the_open_streams_wait_for(self) -> None:
        async with stream(demo.app, "/record") as page:
            assert (await next_event(page))["waiting"] == {}
            async with stream(demo.app, "/firehose", read_ahead=0) as client:
                await anext(client)
                client.stall()
                with anyio.fail_after(10):
                    while (await next_event(page))["waiting"] != {"client": 1}:
                        pass
                await client.disconnect()
                await client.wait_closed()

    async def test_tells_the_failure_behind_a_cut_body(self) -> None:
        response = await fetch(demo.app, "/tokens?fail=2&play=failing")
        assert not response.complete
        told = await first_event("/record")
        [ended] = [s["ended"] for s in told["streams"] if s["play"] == "failing"]
        assert ended["reason"] == "error"
        assert ended["error"] == "PlannedFailure('the model went away')"

    async def test_a_page_that_reconnects_hears_what_is_new(self) -> None:
        seen = await first_event("/record")
        await fetch(demo.app, "/report.pdf?play=new")
        told = await first_event("/record", seen["id"])
        assert not told["first"]
        assert [entry["play"] for entry in told["streams"]] == ["new"]

    async def test_an_id_from_before_a_restart_means_nothing(self) -> None:
        assert (await first_event("/record", "0-99999999"))["first"]
        assert (await first_event("/record", "nonsense"))["first"]

    async def test_keeps_a_bounded_number_of_streams(self) -> None:
        for _ in range(KEPT + 10):
            await fetch(demo.app, f"/report.pdf?play={'x' * 100}")
        told = await first_event("/record")
        assert len(told["streams"]) <= KEPT + 1
        assert max(len(entry["play"]) for entry in told["streams"]) <= 40
        assert all(len(entry["marks"]) == 0 for entry in told["streams"])

    async def test_is_no_part_of_itself(self) -> None:
        async with stream(demo.app, "/record"):
            told = await first_event("/record")
        assert all(entry["path"] != "/record" for entry in told["streams"])
