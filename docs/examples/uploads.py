import hashlib
import uuid
import zlib

import anyio
from fastapi import FastAPI, Request

from streamkit import (
    GZIPStreamingResponse,
    JSONLinesStreamingResponse,
    request_chunks,
    split_lines,
)

app = FastAPI()


@app.post("/files")
async def store(request: Request):
    """Write a body of any size to a file, named by its content; of half of one nothing is left."""
    digest, size = hashlib.sha256(), 0
    folder = anyio.Path("uploads")
    await folder.mkdir(exist_ok=True)
    part = folder / f"{uuid.uuid4()}.part"
    try:
        async with await part.open("wb") as file:
            async for chunk in request_chunks(request):
                digest.update(chunk)
                size += len(chunk)
                await file.write(chunk)
        await part.rename(folder / digest.hexdigest())
    finally:
        await part.unlink(missing_ok=True)
    return {"size": size, "sha256": digest.hexdigest()}


@app.post("/gzip", response_class=GZIPStreamingResponse)
async def compress(request: Request):
    """Give back what comes, compressed, while it comes."""
    compressor = zlib.compressobj(wbits=31)
    async for chunk in request_chunks(request):
        yield compressor.compress(chunk)
    yield compressor.flush()


@app.post("/lines", response_class=JSONLinesStreamingResponse)
async def check(request: Request):
    """Answer each line when it is there, while others are on their way."""
    number = 0
    async for line in split_lines(request_chunks(request)):
        number += 1
        yield {"line": number, "ok": line.isascii()}
