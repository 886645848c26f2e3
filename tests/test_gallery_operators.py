"""The gallery in a real browser: pictures before they are played, and while they grow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .browser import Card, Tabs, chromium
from .server import Server, serving


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    with serving(["streamkit", "--port={port}"]) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def tabs(browser: Any, served: Server) -> Iterator[Tabs]:
    opened = Tabs(browser, served)
    yield opened
    opened.close()
    opened.expect_only()


IMAGES = """() => [...document.images].map(
    ({ src, complete, naturalWidth }) => ({ src: src.slice(0, 5), complete, naturalWidth })
)"""
MEDIA = "() => [...document.querySelectorAll('video, audio')].map(({ error }) => error?.message)"


@pytest.mark.parametrize("width", [390, 1280])
def test_no_picture_looks_broken_before_it_plays(tabs: Tabs, width: int) -> None:
    tab = tabs.open(viewport={"width": width, "height": 844})
    for card in tab.locator(".card .show").all():
        card.scroll_into_view_if_needed()
    # An <img> without a width of its own is shown as broken.
    assert tab.evaluate(IMAGES) == 2 * [{"src": "data:", "complete": True, "naturalWidth": 320}]
    # A video and a sound without a source have an error only if one failed.
    assert tab.evaluate(MEDIA) == [None, None]


def test_a_picture_that_is_left_at_once_does_not_look_broken(tabs: Tabs) -> None:
    tab = tabs.open(viewport={"width": 390, "height": 844})
    for name in ("drawing", "pictures"):
        card = Card(tab, name)
        # Both in one turn, before a byte is there.
        card.read("card.querySelectorAll('[data-does]').forEach((button) => button.click())")
        card.wait("card.querySelector('img').complete")
        assert card.read("card.dataset.state") == "left"
        assert card.read("card.querySelector('img').naturalWidth") > 0


def test_a_picture_is_seen_while_it_grows(tabs: Tabs) -> None:
    card = Card(tabs.open(), "drawing")
    image = card.at.locator("img")
    empty = image.screenshot()
    for _ in range(5):
        card.press("Play")
        card.wait("parseInt(card.querySelector('.figures').textContent) > 40")
        seen = image.screenshot()
        # It takes two seconds. Where the screenshot took longer, try again.
        if card.read("card.dataset.state") == "live":
            break
    assert seen != empty
    assert card.read("card.dataset.state") == "live"
    card.press("Leave now")
