import os
from pathlib import Path

from fastapi import FastAPI, HTTPException
from starlette.responses import PlainTextResponse

from streamkit import FileStreamingResponse

FOLDER = os.path.realpath("downloads")

app = FastAPI()


@app.exception_handler(FileNotFoundError)
async def missing(request, exc):
    return PlainTextResponse("Not Found", 404)


@app.get("/film")
def film():
    return FileStreamingResponse("film.mp4")


@app.get("/downloads/{name:path}")
def download(name: str):
    return FileStreamingResponse(inside(FOLDER, name), filename=Path(name).name)


def inside(folder: str, name: str) -> str:
    """The path of a regular file below `folder`; anything else is not found."""
    path = "" if "\0" in name else os.path.realpath(os.path.join(folder, name))
    if not (path.startswith(folder + os.sep) and os.path.isfile(path)):
        raise HTTPException(404)
    return path
