"""Which route a request took, as a template: what metrics and logs may be labelled with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.types import Scope

__all__ = ["route_of"]


def route_of(scope: Scope) -> str | None:
    """The path template of a request's route, with the prefixes of mounts and routers.

    None if no router set one: a path itself has too many values for a metric's label.
    """
    route = scope.get("route")
    found = getattr(route, "path", None)
    if not isinstance(found, str):
        return None
    # FastAPI may keep the prefix of an included router beside the route.
    kept = scope.get("fastapi")
    context = kept.get("effective_route_context") if isinstance(kept, dict) else None
    if getattr(context, "original_route", None) is route:
        found = getattr(context, "path", found)
    path = str(found)
    if "app_root_path" not in scope:
        return path
    mounted = scope.get("root_path", "").removeprefix(scope["app_root_path"])
    template = _mounts(getattr(scope.get("router"), "routes", ()), mounted)
    return (mounted if template is None else template) + path


def _mounts(routes: Iterable[Any], path: str) -> str | None:
    """The template of the mounts that a path leads through; None if they are not found.

    By the routers, since the values of parameters are converted, and overwritten further in.
    """
    if not path:
        return ""
    for route in routes:
        own, left = "", path
        if (pattern := getattr(route, "path_regex", None)) is not None:
            if not hasattr(route, "routes") or not (found := pattern.match(path + "/")):
                continue
            own, left = route.path, f"/{found['path']}".rstrip("/")
        if (template := _mounts(_below(route), left)) is not None:
            return str(own) + template
    return None


def _below(route: Any) -> Iterable[Any]:
    """The routes of what is mounted, behind its middleware; FastAPI may keep an included router."""
    found = getattr(route, "original_router", route)
    while not (routes := getattr(found, "routes", ())) and hasattr(found, "app"):
        found = found.app
    return routes
