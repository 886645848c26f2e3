import os

import anyio
from fastapi import FastAPI

from streamkit import PlainTextStreamingResponse, SSEStreamingResponse

LOG = os.environ.get("LOG", "app.log")

app = FastAPI()


async def tail(path: str, last: int = 10, end: str = ""):
    """The last lines of a file, and then each new one; also after the file was rotated."""
    file = open(path, "rb")
    try:
        file.seek(max(0, os.path.getsize(path) - 65536))
        *lines, begun = file.read().split(b"\n")
        lines = lines[max(0, len(lines) - last) :]
        while True:
            for line in lines:
                yield line.decode(errors="replace") + end
            # Before the read, so that all that was written to the old file is read.
            replaced = was_replaced(file, path)
            if added := file.read(65536):
                # The last of the lines may be there in part.
                *lines, begun = (begun + added).split(b"\n")
                continue
            lines = []
            if replaced:
                file.close()
                file = open(path, "rb")
                # What the old file ended with is no part of the new one's first line.
                lines, begun = [begun] if begun else [], b""
            else:
                await anyio.sleep(0.1)
    finally:
        file.close()


def was_replaced(file, path: str) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(file.fileno())
    except FileNotFoundError:
        return False
    return there.st_ino != ours.st_ino or there.st_size < file.tell()


@app.get("/log")
async def as_text(last: int = 10):
    return PlainTextStreamingResponse(tail(LOG, last, end="\n"))


@app.get("/log/events")
async def as_events():
    return SSEStreamingResponse(tail(LOG))
