"""The gallery in a real browser: every card, and what its buttons show."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from .browser import Card, Tabs, chromium
from .server import Server, serving, wait_for

# All cards are near to each other then, so that none is parked.
TALL = {"width": 1280, "height": 16_000}


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
    # What is asked for, and is an error for the console.
    opened.expect_only("net::ERR_INCOMPLETE_CHUNKED_ENCODING", "status of 416")


PLAYS = {
    "drawing": "card.dataset.state === 'complete' && card.querySelector('img').complete",
    "tokens": "card.querySelector('.screen').textContent.startsWith('Each of these words went')",
    "slow_file": "card.querySelector('output.files').textContent === '1'",
    "race_streamkit": "Number(card.querySelector('.ratio output').textContent) > 0",
    "firehose": "Number(card.dataset.made) > 0",
    "readings": "card.querySelectorAll('tbody tr').length > 2",
    "lasting": "card.querySelector('.screen').textContent.startsWith('This answer')",
    "counter": "Number(card.querySelector('.number').textContent) >= 0",
    "clock": "card.querySelector('.ticks').textContent.startsWith('tick 1tick 2')",
    "pictures": "card.querySelector('img').naturalWidth === 160",
    "melody": "card.querySelector('audio').currentTime > 0",
    "table": "card.querySelector('output.count').textContent === '10,000'",
    "export": "card.querySelector('.members').textContent.includes('days/01.txt')",
    "gibibyte": "card.querySelector('progress').value > 0",
    "stored": "card.querySelector('.screen').textContent.endsWith('But I go on for ever.\\n')",
    "compressed": "Number(card.querySelector('td')?.textContent) > 501",
    "limited": "card.querySelector('.requests').textContent.startsWith('200 OK')",
}


def wait_for_counts(tab: Any, streams: int, files: int) -> None:
    """Until the record on the page counts so many that are open."""
    for name, number in (("streams", streams), ("files", files)):
        tab.wait_for_function(
            f"number => document.getElementById('open-{name}').textContent === number",
            arg=str(number),
        )


LABELS = {
    "race_streamkit": "Race",
    "lasting": "Ask",
    "gibibyte": "Start or resume",
    "stored": "All of it",
}


def test_every_card_plays_and_leaves_nothing_open(tabs: Tabs) -> None:
    tab = tabs.open()
    found = tab.locator(".card").evaluate_all("cards => cards.map(card => card.id)")
    # The film has a test of its own.
    assert {card.removeprefix("card-") for card in found} == {*PLAYS, "film"}
    for name, condition in PLAYS.items():
        card = Card(tab, name)
        card.press(LABELS.get(name, "Play"))
        card.wait(condition)
        card.wait("/^Status 200 and /.test(card.querySelector('.headers summary').textContent)")
        assert re.match(r"[\d,]+ chunks?, ", card.text(".figures"))
        assert card.at.get_by_role("img", name="Time line of the chunks: ").count() == 1
        if card.read("card.dataset.state") == "live":
            card.press("Pause" if name == "gibibyte" else "Leave now")
            card.wait_for_state("left")
    wait_for_counts(tab, 0, 0)


def test_who_leaves_sees_that_the_server_closed_the_content(tabs: Tabs) -> None:
    tab = tabs.open()
    for name, files in [("slow_file", 1), ("pictures", 0), ("clock", 0)]:
        card = Card(tab, name)
        card.press("Play")
        card.wait(PLAYS[name])
        wait_for_counts(tab, 1, files)

        card.press("Leave now")

        card.wait("card.querySelector('.server').textContent.includes('disconnect after')")
        assert card.text(".browser").startswith("You left after ")
        assert card.text(".server").endswith("Content closed, 0 files open.")
        wait_for_counts(tab, 0, 0)


def test_a_content_that_fails_is_a_cut_body_and_no_clean_end(tabs: Tabs, served: Server) -> None:
    tab = tabs.open()
    messages = {"tokens": "the model went away", "export": "day 5 has no end"}
    for name, message in messages.items():
        card = Card(tab, name)

        card.press("Make it fail")

        card.wait_for_state("cut")
        card.wait("card.querySelector('.server').textContent.includes('on_close')")
        assert card.text(".browser").startswith("The browser saw the body cut (network error): ")
        assert "error after" in card.text(".server")
        assert f"PlannedFailure('{message}')" in card.text(".server")
    # Nobody needs a traceback of what was asked for.
    assert "Traceback" not in served.log()


SETTLED = """(() => {
    const { ahead, made } = card.dataset, now = performance.now();
    if (card.seen?.made !== made) card.seen = { made, since: now };
    return ahead === "65536" && now - card.seen.since > 500;
})()"""


def test_a_stalled_reader_stops_the_generator_at_max_buffer(tabs: Tabs) -> None:
    card = Card(tabs.open(), "firehose")
    card.press("Play")
    card.wait(PLAYS["firehose"])

    card.press("Stall me")

    card.wait(SETTLED)
    assert card.read("card.dataset.state") == "stalled"
    assert card.text("output.ahead") == "64 KiB"
    made = int(card.read("card.dataset.made"))
    card.press("Read on")
    card.wait("card.dataset.state === 'live' && Number(card.dataset.made) > arg", made + 1_000_000)
    card.press("Leave now")
    wait_for_counts(card.tab, 0, 0)


def test_events_go_on_after_the_last_one_that_was_seen(tabs: Tabs) -> None:
    card = Card(tabs.open(), "clock")

    card.press("Make it fail")

    card.wait("card.querySelector('.ticks').textContent.includes('tick 5')")
    notes = card.text(".ticks").splitlines()
    assert "cut: the browser reconnects with Last-Event-ID" in notes
    assert [note for note in notes if note.startswith("tick")] == [
        f"tick {number}" for number in range(1, 6)
    ]
    card.press("Leave now")
    wait_for_counts(card.tab, 0, 0)


MARKED = "card.querySelectorAll('mark')[arg]?.textContent.split(' ').length > 3"
ANSWER = "This answer goes on, whether you look or not. Leave, come back, and miss no word of it. "


def test_an_answer_survives_leaving_and_a_reload(tabs: Tabs) -> None:
    tab = tabs.open()
    card, said = Card(tab, "lasting"), "card.querySelector('.screen').textContent"
    card.press("Ask")
    card.wait(PLAYS["lasting"])

    card.press("Leave now")
    card.wait("card.querySelector('.server').textContent.includes('disconnect after')")
    # Words go on meanwhile.
    tab.wait_for_timeout(1000)
    card.press("Come back")
    card.wait(MARKED, 0)
    with tab.expect_navigation():
        card.press("Reload the page")

    card = Card(tab, "lasting")
    card.wait_for_state("live")
    kept = card.read(said)
    card.wait(f"{said}.length > arg", len(kept) + 10)
    text = card.read(said)
    assert (3 * ANSWER).startswith(text)
    assert len(kept) > len("This answer goes on, whether ")
    card.press("Leave now")


def test_two_tabs_share_a_counter(tabs: Tabs) -> None:
    cards = [Card(tabs.open(), "counter") for _ in range(2)]
    number = "Number(card.querySelector('.number').textContent)"
    for card in cards:
        card.press("Play")
        card.wait_for_state("live")
    cards[0].press("Add one")
    cards[0].wait(f"{number} > 0")
    seen = cards[0].read(number)

    for card in cards:
        card.wait(f"{number} === arg", seen)
    cards[1].press("Add one")
    for card in cards:
        card.wait(f"{number} === arg", seen + 1)
        card.press("Leave now")

    wait_for_counts(cards[0].tab, 0, 0)


def test_the_video_seeks_with_range_requests(tabs: Tabs) -> None:
    card = Card(tabs.open(), "film")
    if not card.read("card.querySelector('video').canPlayType('video/mp4; codecs=avc1.64000D')"):
        pytest.skip("this chromium plays no H.264")
    card.press("Play")
    card.wait("card.querySelector('video').readyState >= 2")

    card.press("Seek to 7 s")

    card.wait(
        "!card.querySelector('video').seeking && card.querySelector('video').currentTime >= 7"
    )
    card.press("Ask for a part")
    card.wait("card.querySelector('.requests').textContent.includes('206: bytes 5000-10000/')")
    assert "206: bytes 0-" in card.text(".requests")
    assert card.read("card.querySelector('video').duration") == pytest.approx(10, abs=0.1)
    card.press("Leave now")
    wait_for_counts(card.tab, 0, 0)


def test_the_download_pauses_and_resumes_at_the_next_byte(tabs: Tabs) -> None:
    card = Card(tabs.open(), "gibibyte")
    value = "card.querySelector('progress').value"
    card.press("Start or resume")
    card.wait(f"card.querySelector('progress').max === 2 ** 30 && {value} > 0")
    card.press("Pause")
    card.wait_for_state("left")
    paused = card.read(value)

    card.press("Start or resume")

    card.wait(f"card.querySelector('.headers').textContent.includes('bytes {paused}-')")
    assert card.text(".headers summary").startswith("Status 206")
    card.wait(f"{value} > {paused}")
    card.press("Pause")


def test_an_object_answers_what_caches_and_players_ask(tabs: Tabs) -> None:
    card = Card(tabs.open(), "stored")
    for label, status, text in [
        ("All of it", 200, "I come from haunts of coot and hern,"),
        ("Seek to the middle", 206, "I chatter over stony ways,"),
        ("Last 57 bytes", 206, "For men may come and men may go,"),
        ("Past the end", 416, "416: "),
        ("With its ETag", 304, "304: "),
    ]:
        card.press(label)
        card.wait("card.querySelector('.headers summary').textContent.includes(arg)", str(status))
        card.wait_for_state("complete")
        assert card.text(".screen").startswith(text)


def test_a_fifth_stream_takes_the_place_of_the_first(tabs: Tabs) -> None:
    tab = tabs.open(viewport=TALL)
    names = ["slow_file", "readings", "clock", "pictures", "firehose"]
    cards = [Card(tab, name) for name in names]
    for card in cards:
        card.press("Play")
        card.wait_for_state("live")
    cards[0].wait_for_state("left")
    assert [card.read("card.dataset.state") for card in cards[1:]] == ["live"] * 4
    tab.goto("about:blank")


def test_what_is_seen_plays_and_what_is_not_seen_is_left(tabs: Tabs) -> None:
    tab = tabs.open(reduced_motion="no-preference")
    clock, stored = Card(tab, "clock"), Card(tab, "stored")
    clock.at.locator(".show").scroll_into_view_if_needed()
    clock.wait_for_state("live")
    clock.wait(PLAYS["clock"])
    stored.at.locator(".show").scroll_into_view_if_needed()
    clock.wait_for_state("left")
    wait_for_counts(tab, 0, 0)
    clock.at.locator(".show").scroll_into_view_if_needed()
    clock.wait_for_state("live")


def test_nothing_plays_by_itself_for_who_wants_no_motion(tabs: Tabs) -> None:
    tab = tabs.open()
    for card in tab.locator(".card .show").all():
        card.scroll_into_view_if_needed()
    assert tab.locator(".card:not([data-state=idle])").count() == 0


def test_the_record_shows_streams_of_other_clients(tabs: Tabs, served: Server) -> None:
    tab = tabs.open()
    tab.click(".dock summary")
    with served.connect("/slow-file") as client:
        client.receive_until(b"Live routes")
        tab.wait_for_function("document.getElementById('open-files').textContent === '1'")
        assert "/slow-file" in tab.inner_text("#ended li")
        assert tab.inner_text("#waiting") == "waiting: 1 for content"
    wait_for_counts(tab, 0, 0)
    assert re.match(r"\d+ /slow-file disconnect after ", tab.inner_text("#ended li"))


def test_the_page_fits_a_small_screen(tabs: Tabs) -> None:
    tab = tabs.open(viewport={"width": 360, "height": 640})
    for name in ("tokens", "table", "stored"):
        card = Card(tab, name)
        card.press(LABELS.get(name, "Play"))
        card.wait(PLAYS[name])
    tab.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    assert tab.evaluate("document.documentElement.scrollWidth") == 360


def test_the_keyboard_reaches_a_card_and_shows_where_it_is(tabs: Tabs) -> None:
    tab = tabs.open()
    card = Card(tab, "tokens")
    card.at.locator(".screen").focus()
    tab.keyboard.press("Tab")
    focused = "document.activeElement"
    assert tab.evaluate(f"{focused}.textContent") == "Play"
    assert tab.evaluate(f"getComputedStyle({focused}).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    card.wait(PLAYS["tokens"])
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")
    card.wait_for_state("left")
    # The button that has nothing more to do keeps the focus.
    assert tab.evaluate(f"{focused}.textContent") == "Leave now"


def test_the_theme_can_be_chosen_and_is_kept(tabs: Tabs) -> None:
    tab = tabs.open(color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    for _ in ("light", "dark"):
        tab.click("#theme")
    assert tab.inner_text("#theme") == "Theme: dark"
    dark = tab.evaluate(paper)
    assert dark != light
    tab.reload(wait_until="load")
    assert tab.evaluate(paper) == dark


def test_axe_finds_no_serious_fault(tabs: Tabs) -> None:
    package = find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("axe-playwright-python is not installed")
    tab = tabs.open(viewport=TALL)
    for name, label, state in [
        ("tokens", "Make it fail", "cut"),
        ("table", "Play", "complete"),
        ("clock", "Play", "live"),
        ("slow_file", "Play", "live"),
        ("firehose", "Play", "live"),
        ("clock", "Leave now", "left"),
        ("firehose", "Stall me", "stalled"),
    ]:
        Card(tab, name).press(label)
        Card(tab, name).wait_for_state(state)
    tab.locator("summary").evaluate_all("all => all.forEach(one => one.parentElement.open = true)")
    tab.add_script_tag(path=Path(package.origin).with_name("axe.min.js"))
    tab.emulate_media(color_scheme="light")
    assert find_faults(tab) == []
    tab.emulate_media(color_scheme="dark")
    # A theme changes nothing but colours.
    assert find_faults(tab, "cat.color") == []


def find_faults(tab: Any, tag: str | None = None) -> list[tuple[str, str]]:
    """What axe-core calls serious or critical: its rule, and where."""
    only = {"runOnly": {"type": "tag", "values": [tag]}} if tag else {}
    found = tab.evaluate("options => axe.run(document, options)", only)
    assert found["passes"]
    return [
        (fault["id"], node["html"])
        for fault in found["violations"]
        for node in fault["nodes"]
        if fault["impact"] in ("serious", "critical")
    ]


def test_streams_of_a_closed_tab_are_closed(tabs: Tabs, served: Server) -> None:
    card = Card(tabs.open(), "slow_file")
    card.press("Play")
    card.wait(PLAYS["slow_file"])
    card.tab.close()
    wait_for(
        lambda: served.fetch("/open-files").body.startswith(b"open files: 0\n"), "the closed file"
    )
