from pathlib import Path

import anyio
from fastapi import FastAPI

from streamkit import ZipMember, ZIPStreamingResponse

app = FastAPI()


def orders():
    yield "id,total\r\n"
    for number in range(1000):
        yield f"{number},{number / 4}\r\n"


async def events():
    for number in range(3):
        await anyio.sleep(0.01)
        yield f"event {number}\n"


@app.get("/export.zip")
def export():
    members = [
        ZipMember("README.txt", "Made while it was sent.\n"),
        ZipMember("data/orders.csv", orders()),
        ZipMember("data/events.txt", events()),
        ZipMember("film.mp4", Path("film.mp4"), compress=False),
    ]
    return ZIPStreamingResponse(members, filename="export.zip")
