import anyio
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from streamkit import JSONLinesStreamingResponse

app = FastAPI()
app.add_middleware(GZipMiddleware, compresslevel=4)


@app.get("/events", response_class=JSONLinesStreamingResponse)
async def events():
    for number in range(5):
        yield {"event": number, "state": "running"}
        await anyio.sleep(0.02)
