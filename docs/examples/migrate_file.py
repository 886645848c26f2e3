from fastapi import FastAPI

from streamkit import FileStreamingResponse

app = FastAPI()


@app.get("/film")
def film():
    return FileStreamingResponse("film.mp4", filename="film.mp4")
