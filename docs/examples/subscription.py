import anyio
from fastapi import FastAPI

from streamkit import SSEStreamingResponse

app = FastAPI()
listeners = set()


@app.get("/events")
async def events():
    return SSEStreamingResponse(subscription())


async def subscription():
    send, receive = anyio.create_memory_object_stream(100)
    listeners.add(send)
    try:
        with send, receive:
            yield {"listeners": len(listeners)}
            async for event in receive:
                yield event
    finally:
        listeners.remove(send)
