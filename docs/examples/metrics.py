from contextlib import asynccontextmanager

import prometheus_client
from fastapi import FastAPI

from streamkit import JSONLinesStreamingResponse, observe
from streamkit.observers.prometheus import PrometheusObserver


@asynccontextmanager
async def lifespan(app):
    with observe(PrometheusObserver()):
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/metrics", prometheus_client.make_asgi_app())


@app.get("/rows/{day}", response_class=JSONLinesStreamingResponse)
def rows(day: str):
    for number in range(1000):
        yield {"day": day, "id": number}
