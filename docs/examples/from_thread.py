import zlib

import anyio
from fastapi import FastAPI

from streamkit import GZIPStreamingResponse, iterate_from_thread

app = FastAPI()


async def measurements():
    for number in range(200):
        await anyio.sleep(0.001)
        yield f"{number},{number % 7}\n".encode()


@app.get("/measurements.csv.gz", response_class=GZIPStreamingResponse)
def compressed():
    compressor = zlib.compressobj(wbits=31)  # the work of a thread, not of the event loop
    with iterate_from_thread(measurements()) as chunks:
        for chunk in chunks:
            yield compressor.compress(chunk)
    yield compressor.flush()
