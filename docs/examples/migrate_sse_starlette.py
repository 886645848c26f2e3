from fastapi import FastAPI

from streamkit import ServerSentEvent, SSEStreamingResponse

app = FastAPI()


@app.get("/progress")
async def progress():
    return SSEStreamingResponse(events(), keep_alive=10)


async def events():
    for percent in (0, 50, 100):
        yield ServerSentEvent(percent, event="progress")
