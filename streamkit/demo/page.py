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

__all__ = ["examples", "render_page"]

ROOT = Path(__file__).parents[2]

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
a:focus-visible, pre:focus-visible { outline: 3px solid Highlight; outline-offset: 2px; }
.place { margin: 0.5rem 0 0; font-size: 0.875rem; overflow-wrap: anywhere; }
</style>
</head>
<body>
<header>
<h1>streamkit: live streams</h1>
<p>Each stream below runs on this server. Open it here, or paste its command into a terminal and
watch the chunks arrive.</p>
</header>
<main>
"""

SECTION = """<section aria-labelledby="{id}">
<h2 id="{id}"><a href="{link}">{path}</a></h2>
<p>{text}</p>
<pre tabindex="0" role="region" aria-label="Command for {path}"><code>{command}</code></pre>
<p class="place">{place}</p>
<pre tabindex="0" role="region" aria-label="Source of {path}"><code>{source}</code></pre>
</section>
"""

FOOT = """</main>
</body>
</html>
"""


def examples(routes: Iterable[BaseRoute]) -> list[APIRoute]:
    """The routes that stream something to look at."""
    return [route for route in routes if isinstance(route, APIRoute) and route.include_in_schema]


def render_page(routes: Iterable[APIRoute], base_url: str) -> Iterator[str]:
    """Render the page, a section for each route, with commands for the server at `base_url`."""
    yield HEAD
    for route in routes:
        yield SECTION.format_map({k: escape(v) for k, v in _describe(route, base_url).items()})
    yield FOOT


def _describe(route: APIRoute, base_url: str) -> dict[str, str]:
    source, place = _find_source(route.endpoint)
    return {
        "id": f"route-{route.name}",
        "path": route.path,
        # Without the leading slash it also works where the app is mounted under another path.
        "link": route.path.lstrip("/"),
        "text": " ".join(inspect.cleandoc(route.endpoint.__doc__ or "").split()),
        "command": _write_command(route, base_url),
        "place": place,
        "source": source,
    }


def _find_source(endpoint: Any) -> tuple[str, str]:
    lines, first = inspect.getsourcelines(endpoint)
    path = Path(inspect.getfile(endpoint))
    name = path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
    return "".join(lines).rstrip(), f"{name}:{first}"


def _write_command(route: APIRoute, base_url: str) -> str:
    command = ["curl", "-N", base_url.rstrip("/") + route.path]
    if not _is_text(route):
        # curl refuses to write what isn't text to a terminal.
        command += ["--output", route.path.rpartition("/")[2]]
    return shlex.join(command)


def _is_text(route: APIRoute) -> bool:
    media_type = getattr(route.response_class, "media_type", None)
    return isinstance(media_type, str) and media_type.startswith("text/")
