import anyio
from fastapi import FastAPI, HTTPException, Request

from streamkit import JSONLinesStreamingResponse

app = FastAPI()


@app.post("/answers", response_class=JSONLinesStreamingResponse)
async def answer(request: Request, fail: bool = False):
    if request.headers.get("authorization") != "Bearer secret":
        raise HTTPException(401)
    for word in ("Hello", "wörld"):
        yield {"text": word}
        await anyio.sleep(0.1)
    if fail:
        raise RuntimeError("the rest is lost")
