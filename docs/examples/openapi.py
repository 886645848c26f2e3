from pathlib import Path

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from streamkit import FileStreamingResponse, JSONLinesStreamingResponse, PNGStreamingResponse


class Reading(BaseModel):
    sensor: str
    celsius: float


ReadingsStreamingResponse = JSONLinesStreamingResponse[Reading]

app = FastAPI()


@app.get(
    "/readings",
    response_class=ReadingsStreamingResponse,
    responses=ReadingsStreamingResponse.openapi(),
)
def readings():
    yield Reading(sensor="roof", celsius=21.5)


@app.get("/logo", response_class=PNGStreamingResponse, responses=PNGStreamingResponse.openapi())
def logo():
    yield Path("logo.png").read_bytes()


@app.get(
    "/film",
    response_class=FileStreamingResponse,
    responses={
        **FileStreamingResponse.openapi(media_type="video/mp4"),
        404: {"description": "There is no film today"},
    },
)
def film():
    if not Path("film.mp4").exists():
        raise HTTPException(404)
    return FileStreamingResponse("film.mp4")
