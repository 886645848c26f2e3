"""The applications that the servers serve, each side's classes in the same routes.

An app is named `module:factory`. Names of streamkit are looked up when they are needed, so that a
class which does not exist yet fails its own job only.
"""

from __future__ import annotations

from importlib import import_module

from starlette.types import ASGIApp


def load(name: str) -> ASGIApp:
    module, _, factory = name.partition(":")
    app: ASGIApp = getattr(import_module(f"{__name__}.{module}"), factory)()
    return app
