"""`python -m tests.screenshots`: the pictures of the gallery in docs/images, live ones."""

from __future__ import annotations

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .browser import Card, chromium
from .server import ROOT, Server, serving

IMAGES = ROOT / "docs" / "images"
HEIGHT = 1900
# Streams of others, for the tape at the top.
OTHERS = ["/pictures", "/lines", "/readings.jsonl", "/clock"]
# 256 colours take a third of the bytes.
PALETTE = "split[a][b];[a]palettegen=max_colors=256[p];[b][p]paletteuse=dither=sierra2_4a"


def main() -> None:
    """Take each picture on a server of its own, and say how large it became."""
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        for width in (1280, 360):
            for scheme in ("light", "dark"):
                path = IMAGES / f"gallery-{width}-{scheme}.png"
                with serving(["streamkit", "--port={port}"]) as server:
                    take(browser, server, width, scheme, path)
                print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1000:.0f} kB")


def take(browser: Any, server: Server, width: int, scheme: str, path: Path) -> None:
    tab = browser.new_page(
        viewport={"width": width, "height": HEIGHT}, color_scheme=scheme, reduced_motion="reduce"
    )
    tab.goto(f"http://127.0.0.1:{server.port}/")
    for other in OTHERS:
        threading.Thread(target=read, args=(server, other), daemon=True).start()
        time.sleep(1)
    play(tab)
    with TemporaryDirectory() as folder:
        raw = Path(folder, "raw.png")
        tab.screenshot(path=raw)
        shrink(raw, path)
    tab.close()


def play(tab: Any) -> None:
    drawing, tokens, file = (Card(tab, name) for name in ("drawing", "tokens", "slow_file"))
    tokens.press("Make it fail")
    tokens.wait_for_state("cut")
    file.press("Play")
    drawing.press("Play")
    # A second and a half into the picture, and the tape is drawn once a second.
    drawing.wait("parseInt(card.querySelector('.figures').textContent) > 140")
    tab.evaluate("scrollTo(0, 0)")
    time.sleep(0.3)


def read(server: Server, path: str) -> None:
    """Be another client, until the server ends."""
    with suppress(OSError), server.connect(path) as client:
        while client.receive():
            pass


def shrink(raw: Path, path: Path) -> None:
    command = ["ffmpeg", "-loglevel", "error", "-y", "-i", raw, "-vf", PALETTE, "-update", "1"]
    subprocess.run([*command, path], check=True, timeout=60)


if __name__ == "__main__":
    main()
