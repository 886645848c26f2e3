"""A fair sample of the matrix of cuts, and the clients that give its verdicts."""

from __future__ import annotations

import gzip
import os
import random
from collections import Counter
from collections.abc import Iterator

import h2.config
import h2.connection
import pytest

from tests.matrix.cells import Cell, all_cells, sample
from tests.matrix.client import CLEAN_END, CUT, HANG, HTTP1, HTTP2, STATUS, WHOLE, Ending
from tests.matrix.exceptions import EXCEPTIONS
from tests.matrix.run import run
from tests.matrix.servers import SERVERS
from tests.matrix.stacks import STACKS, middleware
from tests.matrix.table import failed, lines
from tests.matrix.ways import WAYS

SEED = int(os.environ.get("STREAMKIT_MATRIX_SEED", "1"))
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
SIZED = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"
GZIP = CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n")
FIN = b""
CODED = gzip.compress(b"ab<END>")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


# What a server sends, piece by piece, and the verdict.
ANSWERS: list[tuple[list[bytes], str]] = [
    ([CHUNKED, chunk(b"ab<END>"), chunk(b"")], WHOLE),
    ([CHUNKED, chunk(b"ab<end>"), chunk(b"")], WHOLE),
    ([SIZED, b"ab<END>"], WHOLE),
    ([GZIP, chunk(CODED), chunk(b"")], WHOLE),
    ([CHUNKED, chunk(b"ab"), chunk(b"")], CLEAN_END),
    ([CHUNKED, chunk(b"")], CLEAN_END),
    ([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", b"ab"], CLEAN_END),
    ([b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", b"ab", FIN], CLEAN_END),
    ([GZIP, chunk(CODED[:-9]), chunk(b"")], CLEAN_END),
    ([GZIP, chunk(b"no gzip"), chunk(b"")], CLEAN_END),
    ([CHUNKED, chunk(b"ab<END>"), FIN], CUT),
    ([CHUNKED, b"7\r\nab", FIN], CUT),
    ([CHUNKED, chunk(b"ab"), b"nonsense\r\n"], CUT),
    ([SIZED, b"ab", FIN], CUT),
    ([FIN], CUT),
    ([b"HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\n", b"no"], STATUS),
    ([CHUNKED, chunk(b"ab<END>")], HANG),
    ([SIZED], HANG),
    ([], HANG),
]


@pytest.mark.parametrize(("pieces", "verdict"), ANSWERS)
def test_a_client_of_http_1_tells_a_part_from_the_whole(pieces: list[bytes], verdict: str) -> None:
    client = HTTP1()
    client.request("here", "/", "gzip")
    for piece in pieces:
        client.feed(piece)
    assert client.ending.verdict()[0] == verdict
    assert client.over == (verdict != HANG)


@pytest.mark.parametrize(
    ("body", "end", "verdict"),
    [
        (b"ab<END>", "end", WHOLE),
        (b"ab", "end", CLEAN_END),
        (b"ab<END>", "reset", CUT),
        (b"ab", "close", CUT),
        (b"ab", "nothing", HANG),
    ],
)
def test_a_client_of_http_2_tells_a_part_from_the_whole(
    body: bytes, end: str, verdict: str
) -> None:
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    client = HTTP2()
    server.initiate_connection()
    server.receive_data(client.request("here", "/", "gzip"))
    server.send_headers(1, [(":status", "200")])
    server.send_data(1, body, end_stream=end == "end")
    if end == "reset":
        server.reset_stream(1)
    client.feed(server.data_to_send())
    if end == "close":
        client.feed(FIN)
    assert client.ending.verdict()[0] == verdict
    assert client.ending.body == body


def test_an_ending_says_how_it_is_known() -> None:
    assert Ending(how="FIN").verdict() == (CUT, "FIN, 0 bytes")


def test_the_matrix_has_every_server_stack_way_and_client() -> None:
    cells = list(all_cells(honest=[True, False]))
    assert len(set(cells)) == len(cells)
    assert {cell.server for cell in cells} == set(SERVERS)
    assert {cell.stack for cell in cells} == set(STACKS)
    assert {cell.way for cell in cells} == set(WAYS)


def test_a_sample_is_fair_and_made_by_its_seed() -> None:
    cells = list(all_cells(honest=[True, False]))
    chosen = sample(cells, 140, seed=3)
    assert chosen == sample(cells, 140, seed=3) != sample(cells, 140, seed=4)
    servers = Counter(cell.server for cell in chosen)
    assert max(servers.values()) <= 2 * min(servers[server] for server in SERVERS)
    names = Counter(name for cell in chosen for name in cell.stack.split("+"))
    assert set(names) == {name for stack in STACKS for name in stack.split("+")}


def test_the_line_of_a_cell_finds_it_again() -> None:
    for cell in random.Random(1).sample(list(all_cells(honest=[True, False])), 50):
        assert cell.matches(str(cell))
        assert cell.matches(f"*|nothing {cell.stack}")
        assert not cell.matches("nothing")


def test_every_exception_is_of_some_cell_and_says_why() -> None:
    cells = list(all_cells(honest=[True, False]))
    for row in EXCEPTIONS:
        assert row.reason
        assert any(cell.matches(row.pattern) for cell in cells), row


@pytest.mark.parametrize("stack", STACKS)
def test_every_stack_can_be_built(stack: str) -> None:
    assert len(middleware(stack)) == (0 if stack == "none" else stack.count("+") + 1)


def sampled() -> Iterator[Cell]:
    """A part of every server's cells; the shutdown of one, since each needs a server of its own."""
    cells = [
        cell
        for cell in all_cells(honest=[True, False])
        if not WAYS[cell.way].signal or cell.server == "uvicorn-h11"
    ]
    yield from sample(cells, 84, SEED)


def test_no_way_out_of_a_stream_looks_like_its_end() -> None:
    results = list(run(list(sampled()), jobs=12, servers=3))
    assert len(results) == 84
    assert not any(map(failed, results)), "\n".join(lines(results))
