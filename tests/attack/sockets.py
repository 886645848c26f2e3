"""Treats a real uvicorn as no client should, with hundreds of sockets at a time."""

from __future__ import annotations

import json
import random
import socket
import struct
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from tests.attack.contents import KINDS
from tests.attack.running import Attack
from tests.server import Server, serving

AT_ONCE, EACH = 24, 4


def _reset(client: socket.socket) -> None:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def connects(client: socket.socket, request: bytes, chance: random.Random) -> None:
    """Sends nothing at all."""


def sends_a_part(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request[: chance.randrange(len(request))])
    if chance.random() < 0.5:
        _reset(client)


def resets(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request)
    sleep(chance.random() * 0.02)
    _reset(client)


def half_closes(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request)
    client.shutdown(socket.SHUT_WR)
    client.recv(chance.randrange(1, 5000))


def reads_a_bit(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request)
    client.recv(chance.randrange(1, 100_000))


def reads_and_resets(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request)
    client.recv(chance.randrange(1, 100_000))
    _reset(client)


def stalls(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request)
    sleep(chance.random() * 0.3)


def pipelines(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request * 3)
    for _ in range(chance.randrange(4)):
        client.recv(3000)


def shouts(client: socket.socket, request: bytes, chance: random.Random) -> None:
    client.sendall(request + chance.randbytes(100))
    client.recv(10)


def trickles(client: socket.socket, request: bytes, chance: random.Random) -> None:
    for position in range(0, len(request), 7):
        client.sendall(request[position : position + 7])
        sleep(0.001)
    client.recv(1)


CRUELTIES: tuple[Callable[[socket.socket, bytes, random.Random], None], ...] = (
    connects,
    sends_a_part,
    resets,
    half_closes,
    reads_a_bit,
    reads_and_resets,
    stalls,
    pipelines,
    shouts,
    trickles,
)


def attack(attack: Attack, loop: str) -> None:
    """Rounds of brutal clients; after each, all must be as it was."""
    http = attack.random.choice(["h11", "httptools"])
    command = ["uvicorn", "--port={port}", "--log-level=critical", f"--loop={loop}"]
    with serving([*command, f"--http={http}", "tests.attack.app:app"]) as server:
        # A round that is not counted: what is imported or opened once is there after it.
        _round(attack, server)
        sleep(0.2)
        calm = _state(server)
        # One round at least: a server takes a second to start.
        while attack.goes_on or not attack.counts:
            attack.step("rounds", f"round {attack.counts['rounds']}, {http}")
            _round(attack, server)
            attack.counts["brutal sockets"] += AT_ONCE * EACH
            _wait_for_calm(attack, server, calm)


def _round(attack: Attack, server: Server) -> None:
    seeds = [attack.random.random() for _ in range(AT_ONCE)]
    threads = [threading.Thread(target=_clients, args=(server.port, seed)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _clients(port: int, seed: float) -> None:
    chance = random.Random(seed)
    kinds = [*KINDS, "endless", "nothing/there"]
    for _ in range(EACH):
        method = "HEAD" if chance.random() < 0.1 else "GET"
        cruelty = chance.choice(CRUELTIES)
        # uvicorn tells only the last of pipelined requests that its client has left.
        kind = chance.choice(list(KINDS) if cruelty is pipelines else kinds)
        target = f"/{kind}?{cruelty.__name__}"
        request = f"{method} {target} HTTP/1.1\r\nHost: here\r\n\r\n".encode()
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=2) as client:
            cruelty(client, request, chance)


def _wait_for_calm(attack: Attack, server: Server, calm: dict[str, Any]) -> None:
    until = monotonic() + 15
    while True:
        state = _state(server)
        # Two more of each: the question itself, and a connection that is about to end.
        calm_again = not state["open"] and not state["threads"]
        if calm_again and all(state[what] <= calm[what] + 2 for what in ("tasks", "descriptors")):
            return
        if monotonic() > until:
            attack.expect(False, f"it is not calm again: {state}, at first {calm}")
            return
        sleep(0.05)


def _state(server: Server) -> dict[str, Any]:
    url = f"http://127.0.0.1:{server.port}/state"
    with urllib.request.urlopen(url, timeout=20) as answer:
        state: dict[str, Any] = json.load(answer)
        return state
