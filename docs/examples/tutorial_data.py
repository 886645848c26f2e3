import math

import anyio
from fastapi import FastAPI
from fastapi.responses import HTMLResponse
from pydantic import BaseModel

from streamkit import JSONLinesStreamingResponse, SSEStreamingResponse


class Reading(BaseModel):
    second: int
    celsius: float


async def readings():
    for second in range(3600):
        yield Reading(second=second, celsius=round(20 + 5 * math.sin(second / 10), 1))
        await anyio.sleep(1)


app = FastAPI()


@app.get("/readings.jsonl")
async def lines():
    return JSONLinesStreamingResponse(readings())


@app.get("/readings")
async def events():
    return SSEStreamingResponse(readings())


@app.get("/")
async def page():
    return HTMLResponse(
        """
        <p>It is <span id="now">...</span> °C.</p>
        <script>
            const source = new EventSource("/readings");
            source.onmessage = (event) => {
                const reading = JSON.parse(event.data);
                document.getElementById("now").textContent = reading.celsius;
            };
        </script>
        """
    )
