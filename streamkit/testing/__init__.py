"""Drive an ASGI app in process, chunk by chunk, to test how it streams.

    async with stream(app, "/events") as client:
        assert client.status == 200
        async for chunk in client:
            ...

Nothing is collected on the way: a chunk is there when the app has sent it, a client that does not
read makes `send` wait, and one that leaves is seen by `receive`. Where servers differ, this one
does as uvicorn does: `send` returns without suspending while there is room, and `receive` gives
`http.disconnect` once the response is complete. Runs on asyncio and trio.

    driver.py    stream, fetch: one request
    client.py    the client's side of it: reads, stalls, leaves
    server.py    the app's side: receive and send
    framing.py   what a server refuses
    request.py   the scope
    wire.py      what lies between the two
    clock.py     virtual_time: a keep-alive after 15 s, at once
    closing.py   check_closed: no generator and no file is left open
    sources.py   check_source: a ByteSource of your own
    encoders.py  check_encoder: an encoder of your own
    logs.py      check_log: a log of live streams of your own
"""

from __future__ import annotations

from streamkit.testing.client import StreamClient
from streamkit.testing.clock import virtual_time
from streamkit.testing.closing import check_closed
from streamkit.testing.driver import FetchedResponse, StreamOptions, fetch, stream
from streamkit.testing.encoders import check_encoder
from streamkit.testing.logs import check_log
from streamkit.testing.sources import check_source
from streamkit.testing.wire import Chunk

__all__ = [
    "Chunk",
    "FetchedResponse",
    "StreamClient",
    "StreamOptions",
    "check_closed",
    "check_encoder",
    "check_log",
    "check_source",
    "fetch",
    "stream",
    "virtual_time",
]
