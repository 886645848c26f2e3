from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from streamkit import MP4StreamingResponse

app = FastAPI()


@app.get("/film.mp4")
def film():
    headers = {"Cache-Control": "private, max-age=3600"}
    return MP4StreamingResponse(Path("film.mp4"), headers=headers)


@app.get("/")
def page():
    return HTMLResponse('<video src="/film.mp4" controls></video>')
