"""Chromium without a window, for tests and screenshots of the gallery."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .server import Server

PATIENCE = 20_000  # milliseconds
ARGUMENTS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; the test skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=path, args=ARGUMENTS.split(), timeout=PATIENCE
        )
        try:
            yield browser
        finally:
            browser.close()


class Tabs:
    """Opens the gallery in tabs of their own, and collects what the console says."""

    def __init__(self, browser: Any, server: Server) -> None:
        self._browser = browser
        self.url = f"http://127.0.0.1:{server.port}/"
        self.problems: list[str] = []
        self._contexts: list[Any] = []

    def open(self, **options: Any) -> Any:
        context = self._browser.new_context(**{"reduced_motion": "reduce", **options})
        context.set_default_timeout(PATIENCE)
        self._contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda note: self._note(note.type, note.text))
        tab.on("pageerror", lambda error: self._note("error", str(error)))
        tab.goto(self.url, wait_until="load")
        return tab

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.problems.append(text)

    def close(self) -> None:
        for context in self._contexts:
            context.close()

    def expect_only(self, *parts: str) -> None:
        """Fail if the console said something in which none of the parts is."""
        assert [text for text in self.problems if not any(map(text.__contains__, parts))] == []


class Card:
    """A card of the gallery, by the name of its endpoint."""

    def __init__(self, tab: Any, name: str) -> None:
        self.tab = tab
        self.at = tab.locator(f"#card-{name}")
        self.element = self.at.element_handle()

    def press(self, label: str) -> None:
        self.at.get_by_role("button", name=label, exact=True).click()

    def wait(self, condition: str, arg: Any = None) -> None:
        """Until a JavaScript expression of `card`, the element, and `arg` is true."""
        self.tab.wait_for_function(
            f"([card, arg]) => {condition}", arg=[self.element, arg], polling=20
        )

    def wait_for_state(self, *states: str) -> None:
        self.wait("arg.includes(card.dataset.state)", list(states))

    def read(self, expression: str) -> Any:
        return self.element.evaluate(f"card => {expression}")

    def text(self, selector: str) -> str:
        return str(self.at.locator(selector).first.inner_text())
