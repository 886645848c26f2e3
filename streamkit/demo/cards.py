"""What the page shows of each stream: its words, what there is to look at, and its buttons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from streamkit.demo import items, lasting, live, race, seekable
from streamkit.demo.melody import piano_roll

__all__ = ["CARDS", "Button", "Card"]


@dataclass(frozen=True)
class Button:
    """`does` is what the card's script calls, with `value` as its argument."""

    label: str
    does: str
    value: str = ""


PLAY, LEAVE = Button("Play", "play"), Button("Leave now", "leave")


# An empty picture: browsers show an image without one as broken.
EMPTY = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='320' height='200'/%3E"


def picture(alt: str) -> str:
    return f'<img src="{EMPTY}" alt="{alt}" width="320" height="200">'


def fail_at(number: int) -> Button:
    return Button("Make it fail", "fail", str(number))


@dataclass(frozen=True)
class Card:
    """`view` names a class of static/*.js; `show` is its HTML; `auto` plays it when it is seen."""

    endpoint: Any
    short: str
    title: str
    lead: str
    view: str
    show: str
    buttons: tuple[Button, ...] = (PLAY, LEAVE)
    auto: bool = False
    path: str = ""
    also: tuple[Any, ...] = ()


SCREEN = '<pre class="screen" tabindex="0" role="region" aria-label="{}"></pre>'


def table(caption: str, *columns: str) -> str:
    head = "".join(f'<th scope="col">{column}</th>' for column in columns)
    return (
        f'<table class="rows"><caption>{caption}</caption><thead><tr>{head}</tr></thead>'
        "<tbody></tbody></table>"
    )


def meter(label: str, name: str) -> str:
    return (
        f'<p class="meter"><span class="label">{label}</span> <output class="{name}">0</output>'
        f'<span class="bar" aria-hidden="true"><i class="{name}-bar"></i></span></p>'
    )


PROGRESS = '<label class="progress">{} <progress max="1" value="0"></progress></label>'

CARDS = [
    Card(
        live.drawing,
        "picture",
        "A picture, a line at a time",
        "Each line of pixels is painted on a worker thread and leaves as soon as it is there. "
        "The browser shows it in a plain <img>.",
        "Picture",
        picture("Waves that meet, painted from top to bottom"),
        auto=True,
    ),
    Card(
        live.tokens,
        "words",
        "Words, as a model says them",
        "An exception in the middle cuts the body. No client takes half an answer for a whole one.",
        "Text",
        SCREEN.format("The words"),
        (PLAY, LEAVE, fail_at(12)),
        auto=True,
    ),
    Card(
        live.slow_file,
        "file",
        "A file in a with block",
        "Leave while it is being read. The generator is closed at once, on the thread it runs on, "
        "and so is its file.",
        "Text",
        SCREEN.format("The file") + meter("files open on the server", "files"),
    ),
    Card(
        race.race_streamkit,
        "race",
        "One generator, two responses",
        "20,000 short lines from the same sync generator. The two run one after the other, so "
        "that neither takes time from the other.",
        "Race",
        meter("streamkit", "ours")
        + meter("Starlette", "theirs")
        + '<p class="ratio"><output>?</output> <span>times the lines a second</span></p>',
        (Button("Race", "play"), LEAVE),
        path="race/streamkit",
        also=(race.race_starlette,),
    ),
    Card(
        live.firehose,
        "backpressure",
        "Faster than you read",
        "Stall, and the browser stops reading. First the sockets fill up, then the buffer, and "
        "then the generator waits, without a thread.",
        "Firehose",
        meter("made by the generator", "made")
        + meter("taken by the server", "sent")
        + meter("read by the browser", "got")
        + meter("ahead of the server, of 64 KiB", "ahead"),
        (PLAY, Button("Stall me", "stall"), LEAVE),
    ),
    Card(
        items.readings,
        "JSON lines",
        "Rows, as lines of JSON",
        "Dataclasses go in, a line of JSON each comes out. The page parses a line when it is "
        "there.",
        "Rows",
        table("The latest readings", "number", "time", "celsius"),
        (PLAY, LEAVE, fail_at(6)),
        auto=True,
    ),
    Card(
        items.clock,
        "events",
        "A clock that goes on where it was",
        "Each event has an id. Make it fail: the browser reconnects with Last-Event-ID, and no "
        "tick is missed.",
        "Clock",
        '<p class="time" role="timer">--:--:--</p><ol class="ticks" aria-label="Ticks"></ol>',
        (PLAY, LEAVE, fail_at(3)),
        auto=True,
    ),
    Card(
        lasting.lasting,
        "answer",
        "An answer that outlives the page",
        "Leave, or reload the page: the answer goes on without you. Who comes back gets what was "
        "said meanwhile, which is marked, and the rest.",
        "Lasting",
        SCREEN.format("The answer"),
        (
            Button("Ask", "play"),
            LEAVE,
            Button("Come back", "comeBack"),
            Button("Reload the page", "reload"),
        ),
    ),
    Card(
        lasting.counter,
        "counter",
        "A counter that tabs share",
        "One channel, and as many readers as there are tabs. Open another one, and add there.",
        "Counter",
        '<p class="time"><output class="number">0</output></p>',
        (PLAY, Button("Add one", "add"), Button("Open another tab", "another"), LEAVE),
        also=(lasting.add_one,),
    ),
    Card(
        items.pictures,
        "moving pictures",
        "Pictures that replace each other",
        "multipart/x-mixed-replace, as cameras send it. Again a plain <img>, and no script.",
        "Pictures",
        picture("Circles of waves that spread"),
        auto=True,
    ),
    Card(
        seekable.film,
        "video",
        "A video that seeks",
        "A path is all it takes: the browser asks for ranges, and gets 206. This film is so small "
        "that it asks once; the last button asks for a part by itself.",
        "Film",
        '<video controls muted playsinline preload="none" width="320" height="180"'
        ' aria-label="A test picture of ten seconds, with a tone"></video>'
        '<ol class="requests" aria-label="Requests of the video"></ol>',
        (
            PLAY,
            Button("Seek to 7 s", "seek", "7"),
            Button("Seek to 2 s", "seek", "2"),
            LEAVE,
            Button("Ask for a part", "part", "5000-10000"),
        ),
    ),
    Card(
        live.melody,
        "audio",
        "A melody, note by note",
        "Bach's first prelude, calculated while it is played: WAV, by a sync generator.",
        "Melody",
        piano_roll() + '<audio controls preload="none" aria-label="The melody"></audio>',
    ),
    Card(
        items.table,
        "CSV",
        "A spreadsheet's worth of rows",
        "10,000 rows as CSV. A header from the field names, and the mark that Excel looks for.",
        "Sheet",
        table("The latest rows", "number", "time", "celsius") + meter("rows", "count"),
    ),
    Card(
        items.export,
        "zip",
        "A zip archive of streams",
        "Members are files, bytes and generators, packed while they are sent. Each shows up here "
        "as its name goes by.",
        "Archive",
        '<ol class="members" aria-label="Members of the archive"></ol>' + meter("members", "count"),
        (PLAY, LEAVE, fail_at(5)),
    ),
    Card(
        seekable.gibibyte,
        "download",
        "A download that resumes",
        "1 GiB that is stored nowhere. Pause it, and it goes on at the next byte with Range and "
        "If-Range.",
        "Download",
        PROGRESS.format("Received") + '<p class="position">0 of 1024 MiB</p>',
        (Button("Start or resume", "play"), Button("Pause", "leave")),
    ),
    Card(
        seekable.stored,
        "object store",
        "An object in a store of your own",
        "Two methods and a dict. What a cache, a seek and a resumed download ask for is answered.",
        "Stored",
        SCREEN.format("The object") + '<div class="spans" aria-hidden="true"></div>',
        (
            Button("All of it", "play"),
            Button("Seek to the middle", "range", "122-235"),
            Button("Last 57 bytes", "range", "-57"),
            Button("Past the end", "range", "9999-"),
            Button("With its ETag", "revalidate"),
        ),
        path="objects/brook.txt",
        also=(seekable.StoredObject,),
    ),
    Card(
        items.compressed,
        "compression",
        "Fewer bytes, and no later",
        "500 rows at once, then one at a time. The browser says which codings it knows. A row that "
        "comes alone is flushed, and is here as soon as it is made.",
        "Compressed",
        table("The latest rows", "number", "time", "celsius")
        + meter("rows, as the page reads them", "plain")
        + meter("bytes that the server sent", "coded")
        + '<p class="ratio"><output>?</output> <span>is the Content-Encoding</span></p>',
        also=(items.CompressedRows,),
    ),
    Card(
        live.limited,
        "limits",
        "A rate, and a number of places",
        "20 kB a second, 2 kB ahead of the client, and one stream for each. Who asks once more, "
        "here or in another tab, gets a 503 that says when to come back.",
        "Limited",
        meter("a second, of 20 kB", "rate")
        + '<ol class="requests" aria-label="Answers to the requests"></ol>',
        (PLAY, Button("Ask once more", "more"), LEAVE),
        also=(live.LimitedLines,),
    ),
]
