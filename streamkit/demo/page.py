"""The demo's index page: one section for each live route."""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from streamkit.demo.shows import SHOWS

__all__ = ["SCRIPT", "examples", "render_page"]

ROOT = Path(__file__).parents[2]
SCRIPT = Path(__file__).with_name("page.js")

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>streamkit: live streams</title>
<link rel="icon" href="data:,">
<style>
:root { color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif; }
body { margin: 0 auto; padding: 1rem; max-width: 60rem; background: Canvas; color: CanvasText; }
h1, h2 { line-height: 1.2; }
h2 { margin-top: 2.5rem; overflow-wrap: anywhere; }
p { max-width: 40rem; }
pre { margin: 0.5rem 0; padding: 0.75rem; overflow-x: auto; border: 1px solid GrayText;
      border-radius: 0.25rem; font: 0.875rem/1.5 ui-monospace, monospace; }
a:focus-visible, button:focus-visible, pre:focus-visible, video:focus-visible {
      outline: 3px solid Highlight; outline-offset: 2px; }
button { font: inherit; padding: 0.25rem 1rem; }
img, video { display: block; max-width: 100%; height: auto; border-radius: 0.25rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: start; }
th, td { padding: 0.125rem 1.5rem 0.125rem 0; text-align: start; border-top: 1px solid GrayText; }
.rows { min-height: 13.5rem; }
progress { display: block; width: min(100%, 40rem); height: 1rem; }
.show p { margin: 0.5rem 0; overflow-wrap: anywhere; }
.large { font: 1.25rem/1.5 ui-monospace, monospace; }
.text { min-height: 3rem; }
.place { margin: 0.5rem 0 0; font-size: 0.875rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<header>
<h1>streamkit: live streams</h1>
<p>Each stream below runs on this server. Open it here, or paste its command into a terminal and
watch the chunks arrive.</p>
<noscript><p>The buttons below need JavaScript; the links and commands do not.</p></noscript>
</header>
<main>
"""

SECTION = """<section aria-labelledby="{id}">
<h2 id="{id}"><a href="{link}">{path}</a></h2>
<p>{text}</p>
{show}<pre tabindex="0" role="region" aria-label="Command for {path}"><code>{command}</code></pre>
{sources}</section>
"""

SOURCE = """<p class="place">{place}</p>
<pre tabindex="0" role="region" aria-label="Source of {name}"><code>{source}</code></pre>
"""

FOOT = """</main>
<script type="module" src="page.js"></script>
</body>
</html>
"""


def examples(routes: Iterable[BaseRoute]) -> list[APIRoute]:
    """The routes that stream something to look at, each of them once."""
    shown = [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]
    # Whether an app lists the routes of its routers as well depends on FastAPI's version.
    return list({route.path: route for route in shown}.values())


def render_page(routes: Iterable[APIRoute], base_url: str) -> Iterator[str]:
    """Render the page, a section for each route, with commands for the server at `base_url`."""
    yield HEAD
    for route in routes:
        endpoint = route.endpoint
        yield SECTION.format(
            id=f"route-{escape(route.name)}",
            path=escape(route.path),
            # Without the leading slash it also works where the app is mounted under another path.
            link=escape(route.path.lstrip("/")),
            text=escape(" ".join(inspect.cleandoc(endpoint.__doc__ or "").split())),
            show=SHOWS.get(route.path, ""),
            command=escape(_write_command(route, base_url)),
            sources="".join(map(_render_source, [endpoint, *_helpers(endpoint)])),
        )
    yield FOOT


def _helpers(endpoint: Any) -> list[Any]:
    """The classes and functions beside the endpoint that it uses."""
    used = inspect.getclosurevars(endpoint).globals.values()
    return [
        item
        for item in used
        if (inspect.isclass(item) or inspect.isfunction(item))
        and item.__module__ == endpoint.__module__
    ]


def _render_source(item: Any) -> str:
    lines, first = inspect.getsourcelines(item)
    path = Path(inspect.getfile(item))
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return SOURCE.format(
        place=escape(f"{name}:{first}"),
        name=escape(item.__name__),
        source=escape("".join(lines).rstrip()),
    )


def _write_command(route: APIRoute, base_url: str) -> str:
    command = ["curl", "-N", base_url.rstrip("/") + route.path]
    if not _is_text(route):
        # curl refuses to write what isn't text to a terminal.
        command += ["--output", route.path.rpartition("/")[2]]
    return shlex.join(command)


def _is_text(route: APIRoute) -> bool:
    media_type = getattr(route.response_class, "media_type", None)
    return str(media_type).startswith("text/") or media_type == "application/jsonl"
