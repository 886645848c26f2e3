import anyio
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse

from streamkit import ServerSentEvent, SSEStreamingResponse, last_event_id

app = FastAPI()


@app.get("/ticks", response_class=SSEStreamingResponse)
async def ticks(request: Request):
    tick = int(last_event_id(request) or 0)
    while True:
        tick += 1
        yield ServerSentEvent({"tick": tick}, id=str(tick))
        await anyio.sleep(1)


@app.get("/")
def page():
    return HTMLResponse(
        """
        <p id="tick"></p>
        <script>
            const source = new EventSource("/ticks");
            source.onmessage = (event) => {
                document.getElementById("tick").textContent = JSON.parse(event.data).tick;
            };
        </script>
        """
    )
