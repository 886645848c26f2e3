"""The gallery in a real browser: compression, limits, and pictures that have not been played."""

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
    # A refused request is an error for the console.
    opened.expect_only("status of 503")


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


def read_rows(tab: Any) -> str:
    """Play the card about compression until rows come one by one; the coding that it shows."""
    card = Card(tab, "compressed")
    card.press("Play")
    # 600 is the last one.
    card.wait("Number(card.querySelector('td')?.textContent) > 503")
    assert card.read("card.dataset.state") == "live"
    shown = "parseFloat(card.querySelector('output.{}').textContent)"
    # Both are kilobytes.
    card.wait(f"{shown.format('coded')} > 1")
    assert card.read(shown.format("coded")) < card.read(shown.format("plain")) / 4
    coding = card.text(".ratio output")
    assert f"content-encoding: {coding}" in card.read("card.querySelector('.headers').textContent")
    card.press("Leave now")
    return coding


def test_rows_are_compressed_and_each_is_here_at_once(tabs: Tabs) -> None:
    assert read_rows(tabs.open()) in ("zstd", "br", "gzip")


def test_gzip_is_there_without_the_packages_of_the_extra(browser: Any) -> None:
    with serving(["tests.gzip_gallery", "--port={port}"]) as server:
        tabs = Tabs(browser, server)
        assert read_rows(tabs.open()) == "gzip"
        tabs.close()
    tabs.expect_only()


def test_one_more_request_is_refused_and_told_when_to_come_back(tabs: Tabs) -> None:
    tab = tabs.open()
    card = Card(tab, "limited")
    answers = "card.querySelector('.requests').innerText"
    refused = "503 Service Unavailable, Retry-After: 5"
    card.press("Play")
    card.wait(f"{answers} === '200 OK'")

    card.press("Ask once more")
    card.wait(f"{answers} === arg", f"200 OK\n{refused}")

    # A second tab is the same client.
    other = Card(tabs.open(), "limited")
    other.press("Play")
    other.wait(f"{answers} === arg", refused)
    other.wait(
        "card.querySelector('.server').textContent.startsWith('on_close on the server: error')"
    )
    # The stream goes on, at its rate.
    card.wait("parseFloat(card.querySelector('output.rate').textContent) > 15")
    assert card.read("card.dataset.state") == "live"
    assert card.read("parseFloat(card.querySelector('output.rate').textContent)") < 25
    card.press("Leave now")
    card.wait("card.querySelector('.server').textContent.includes('disconnect after')")

    # The place is free again.
    other.press("Ask once more")
    other.wait(f"{answers} === '200 OK'")
    other.press("Leave now")
