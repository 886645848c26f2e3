"""A melody as WAV, calculated note by note with the standard library."""

from __future__ import annotations

import math
import struct
import time
from array import array
from collections.abc import Iterable, Iterator, Sequence
from functools import cache

__all__ = ["MELODY", "NOTE_SECONDS", "encode_wav", "piano_roll", "play_notes"]

RATE = 22050
NOTE_SECONDS = 0.16
STEP = round(RATE * NOTE_SECONDS)
# A quarter of the time that it is played in.
PAUSE = NOTE_SECONDS / 4
# A note sounds on while the next ones are played.
RINGING = 4

# Bach, prelude in C major, BWV 846: the first four bars and a close, as MIDI numbers.
BARS = [(60, 64, 67, 72, 76), (60, 62, 69, 74, 77), (59, 62, 67, 74, 77), (60, 64, 67, 72, 76)]
MELODY = [bar[i] for bar in BARS for i in (0, 1, 2, 3, 4, 2, 3, 4) * 2] + [48, 60, 64, 67, 72]


@cache
def _tone(note: int) -> array[float]:
    """A note as it fades away: samples from -1 to 1."""
    pitch = math.tau * 440 * 2 ** ((note - 69) / 12) / RATE
    return array(
        "d",
        (
            math.exp(-at / RATE * 5) * (math.sin(pitch * at) + math.sin(2 * pitch * at) / 3) / 4
            for at in range(RINGING * STEP)
        ),
    )


def play_notes(notes: Sequence[int]) -> Iterator[bytes]:
    """The samples of each note, 16 bits, made four times as fast as they are played."""
    for last in range(len(notes)):
        sounding = [
            _tone(notes[last - ago])[ago * STEP : (ago + 1) * STEP]
            for ago in range(min(RINGING, last + 1))
        ]
        mixed = (round(16000 * sum(samples)) for samples in zip(*sounding, strict=True))
        yield struct.pack(f"<{STEP}h", *mixed)
        time.sleep(PAUSE)


def encode_wav(samples: Iterable[bytes], notes: int) -> tuple[int, Iterator[bytes]]:
    """The size of the file in bytes, and its chunks: a header, then each note's samples."""
    size = 2 * STEP * notes
    riff = struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
    layout = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16)

    def chunks() -> Iterator[bytes]:
        yield riff + layout + struct.pack("<4sI", b"data", size)
        yield from samples

    return 44 + size, chunks()


def piano_roll() -> str:
    """The notes as a drawing (SVG), with a line that moves over them."""
    low, high = min(MELODY), max(MELODY)
    notes = "".join(
        f'<rect x="{at}" y="{(high - note) / 2}" width=".85" height="1"/>'
        for at, note in enumerate(MELODY)
    )
    size = f"0 -1 {len(MELODY)} {(high - low) / 2 + 3}"
    return (
        f'<svg class="roll" viewBox="{size}" preserveAspectRatio="none" role="img"'
        f' aria-label="The notes of the melody">{notes}'
        f'<line x1="0" x2="0" y1="-1" y2="{(high - low) / 2 + 2}"/></svg>'
    )
