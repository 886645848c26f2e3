import time

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from streamkit import MultipartStreamingResponse

app = FastAPI()


class FilmStreamingResponse(MultipartStreamingResponse):
    part_media_type = "image/svg+xml"


@app.get("/film", response_class=FilmStreamingResponse)
def film():
    while True:
        for x in range(10, 200, 10):
            yield picture(x)
            time.sleep(0.1)


def picture(x: int) -> bytes:
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="40">'
        f'<circle cx="{x}" cy="20" r="10" fill="teal"/></svg>'
    ).encode()


@app.get("/")
def page():
    return HTMLResponse('<img src="/film" alt="A ball that rolls">')
