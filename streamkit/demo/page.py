"""The gallery's page: HTML from the cards and from the routes as they stand."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from fastapi.routing import APIRoute

from streamkit.demo.cards import CARDS, Button, Card
from streamkit.demo.source import find_helpers, highlight, place_of, public_names, source_of

__all__ = ["STATIC", "render_page"]

STATIC = Path(__file__).with_name("static")

CARD = Template("""<article class="card" id="card-$name" data-view="$view" data-path="$path"
data-state="idle"$auto aria-labelledby="route-$name">
<header><p class="kicker"><a href="$path">$route</a> $media_type</p>
<h2 id="route-$name">$title</h2><p class="lead">$lead</p></header>
<div class="show">$show</div>
<div class="controls">$buttons</div>
<figure class="wire">
<figcaption><span class="badge">idle</span> <span class="figures">not played yet</span>
<span class="lanes">$lanes</span></figcaption>
<canvas data-lanes="$count" role="img"
aria-label="Time line of the chunks: none yet"></canvas>
</figure>
<div class="verdict" role="status"><p class="browser"></p><p class="server"></p></div>
<div class="behind">
$sources$command<details class="headers"><summary>Status and headers</summary>
<pre tabindex="0" role="region" aria-label="Headers of $route">not played yet</pre></details>
</div>
</article>
""")
# What the browser shows by itself, no script sees arrive.
NATIVE = ("Picture", "Pictures", "Film", "Melody")
LANES = "above: sent by the server", "below: read by the page"

ROUTE = Template("""<section class="route" aria-labelledby="route-$name">
<h3 id="route-$name"><a href="$path">$route</a></h3>
<p>$text</p>
$command<details><summary>Source</summary>
$sources</details>
</section>
""")

BUTTON = Template(
    '<button type="button" data-does="$does" data-value="$value" aria-describedby="route-$name">'
    "$label</button>"
)

SOURCE = Template("""<figure class="source"><figcaption class="place">$place</figcaption>
<pre tabindex="0" role="region" aria-label="Source of $name"><code>$source</code></pre></figure>
""")

HELPERS = Template("<details><summary>What it uses: $names</summary>\n$sources</details>\n")

COMMAND = Template("""<div class="command"><pre tabindex="0" role="region"
aria-label="Command for $route"><code>$command</code></pre>
<button type="button" class="copy" aria-describedby="route-$name">Copy</button></div>
""")


class Page:
    """Renders cards and routes, with commands for the server at `base_url`."""

    def __init__(self, routes: Iterable[APIRoute], base_url: str) -> None:
        self._routes = {route.endpoint: route for route in routes}
        self._base_url = base_url.rstrip("/")

    def card(self, card: Card) -> str:
        route = self._routes[card.endpoint]
        # Without the leading slash it also works where the app is mounted under another path.
        path = card.path or route.path.lstrip("/")
        shown = [card.endpoint, *card.also]
        lanes = LANES[:1] if card.view in NATIVE else LANES
        return CARD.substitute(
            name=escape(route.name),
            view=card.view,
            path=escape(path),
            route=escape(f"/{path}"),
            media_type=escape(str(getattr(route.response_class, "media_type", None) or "")),
            auto=" data-auto" if card.auto else "",
            title=escape(card.title),
            lead=escape(card.lead),
            show=card.show,
            lanes=", ".join(lanes),
            count=len(lanes),
            buttons="".join(self._button(button, route.name) for button in card.buttons),
            sources="".join(map(render_source, shown)) + render_helpers(shown),
            command=self._command(route, path),
        )

    def nav(self) -> str:
        names = ((escape(self._routes[c.endpoint].name), escape(c.short)) for c in CARDS)
        links = "\n".join(f'<a href="#route-{name}">{short}</a>' for name, short in names)
        return f'<nav class="nav" aria-label="Streams">{links}</nav>'

    def _button(self, button: Button, name: str) -> str:
        return BUTTON.substitute(
            does=button.does, value=button.value, label=button.label, name=escape(name)
        )

    def others(self) -> list[str]:
        """The routes that have no card, for a terminal."""
        shown = {item for card in CARDS for item in (card.endpoint, *card.also)}
        return [self._route(route) for end, route in self._routes.items() if end not in shown]

    def _route(self, route: APIRoute) -> str:
        shown = [route.endpoint, *find_helpers(route.endpoint)]
        return ROUTE.substitute(
            name=escape(route.name),
            path=escape(route.path.lstrip("/")),
            route=escape(route.path),
            text=escape(" ".join((route.endpoint.__doc__ or "").split())),
            command=self._command(route, route.path.lstrip("/")),
            sources="".join(map(render_source, shown)),
        )

    def _command(self, route: APIRoute, path: str) -> str:
        command = ["curl", "-N", f"{self._base_url}/{path}"]
        if not is_text(route):
            # curl refuses to write what isn't text to a terminal.
            command += ["--output", path.rpartition("/")[2]]
        return COMMAND.substitute(
            command=escape(shlex.join(command)),
            route=escape(route.path),
            name=escape(route.name),
        )


def render_page(
    routes: Iterable[APIRoute], base_url: str, recording: Iterable[Any]
) -> Iterator[str]:
    """Render the page piece by piece; `recording` is the code that the record is made by."""
    page = Page(routes, base_url)
    head, foot = (STATIC / "page.html").read_text("utf-8").split("<!-- cards -->\n")
    yield Template(head).substitute(nav=page.nav())
    yield from map(page.card, CARDS)
    yield Template(foot).substitute(
        recording="".join(map(render_source, recording)), routes="".join(page.others())
    )


def render_source(item: Any) -> str:
    return SOURCE.substitute(
        place=escape(place_of(item)),
        name=escape(item.__name__),
        source=highlight(source_of(item), public_names(item)),
    )


def render_helpers(shown: list[Any]) -> str:
    found = {
        item: None for each in shown if not isinstance(each, type) for item in find_helpers(each)
    }
    helpers = [item for item in found if item not in shown]
    if not helpers:
        return ""
    return HELPERS.substitute(
        names=escape(", ".join(item.__name__ for item in helpers)),
        sources="".join(map(render_source, helpers)),
    )


def is_text(route: APIRoute) -> bool:
    """Whether a terminal can show what the route streams."""
    media_type = getattr(route.response_class, "media_type", None)
    return str(media_type).startswith("text/") or media_type == "application/jsonl"
